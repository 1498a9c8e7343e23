# SPDX-License-Identifier: Apache-2.0
# Included by the Makefile. With CI set, a kernel that cannot be had is a failure.

kernels: root deps ## run what must hold on Debian's 6.1 and 6.12 kernels, emulated, and on this one; one table (root)
	CI=true go test -count=1 -v -timeout 25m ./test/system/kernels -args -host

instructions: deps ## write down what the verifiers of 6.1 and 6.12 count (bpf/instructions.txt), after a change of bpf/
	go test -count=1 ./test/system/kernels -update

.PHONY: kernels instructions
