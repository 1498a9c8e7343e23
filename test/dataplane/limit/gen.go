// SPDX-License-Identifier: Apache-2.0

package limit

// The same compiler and the same flags as the dataplane's, and its headers: what is asked is what decides.
//
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -cflags "-O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -type ask -type note -type answer limit limit.c
