# SPDX-License-Identifier: Apache-2.0
# Included by the Makefile.

bench: root ## measure what a packet costs and what visitors notice of bots, and write docs/BENCHMARKS.md (root, a quarter of an hour)
	go run -buildvcs=false ./test/bench -runs 5 -o docs/BENCHMARKS.md

.PHONY: bench
