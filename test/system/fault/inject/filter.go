// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is a group of system calls that is counted together.
type Kind string

const (
	// BPF is every bpf(2).
	BPF Kind = "bpf"
	// Disk is what changes files: create, write, sync, rename. Listen says below which folders.
	Disk Kind = "disk"
	// All is both.
	All Kind = "all"
)

// calls of a kind; what a listener is not interested in goes on at once. Go makes no others of these families.
var calls = map[Kind][]uint32{
	BPF: {unix.SYS_BPF},
	Disk: {unix.SYS_OPENAT, unix.SYS_MKDIRAT, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
		unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2},
}

func init() { calls[All] = append(slices.Clone(calls[BPF]), calls[Disk]...) }

// install puts the filter on the calling thread and returns the listener's descriptor. Once a call was handed to the
// listener, only a deadly signal interrupts it: Go's own signals would make the kernel ask, and us count, twice.
func install(k Kind) (int, error) {
	numbers, ok := calls[k]
	if !ok {
		return -1, fmt.Errorf("no kind of call %q", k)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // seccomp_data.nr
	for i, nr := range numbers {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(numbers) - i), K: nr})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return -1, fmt.Errorf("install the filter: %w", errno)
	}
	return int(fd), nil
}
