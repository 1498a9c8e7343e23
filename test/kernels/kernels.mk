# SPDX-License-Identifier: Apache-2.0
# Included by the Makefile.

kernels: root ## run what must hold on Debian's 6.1 and 6.12 kernels, emulated, and on this one; one table (root)
	SPILLWAY_KERNELS=1 go test -count=1 -v -timeout 25m -run '^(TestKernels|TestCompareCounts)$$' ./test/kernels -args -host

instructions: root ## write down what the verifiers of 6.1 and 6.12 count (bpf/instructions.txt), after a change of bpf/
	SPILLWAY_KERNELS=1 go test -count=1 -timeout 25m -run '^TestKernels$$' ./test/kernels -args -update

.PHONY: kernels instructions
