// SPDX-License-Identifier: Apache-2.0

package main

// The same compiler and the same flags as the dataplane's: the comparison would be worth little otherwise.
//
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -type step compare compare.c
