// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// giveUp leaves this process CAP_BPF alone, for good, and a filter of system calls that lets it make and fill maps, pin
// them, and run programs that it has: it can neither load nor attach any, nor open what is pinned. All threads lose
// them, which a build with cgo cannot do.
//
// The filter is needed beside the capabilities: link_create(2) of an XDP program asks for CAP_BPF alone, and the pins
// and the agent belong to the same user.
func giveUp() error {
	if err := drop(); err != nil {
		return err
	}
	return filter()
}

func drop() error {
	if err := threads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	// Only who has CAP_SETPCAP, root, has a bounding set that says more than the unit's.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := threads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil && !errors.Is(err, unix.EPERM) &&
			!errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up rights: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	data[unix.CAP_BPF/32].Permitted = 1 << (unix.CAP_BPF % 32)
	data[unix.CAP_BPF/32].Effective = data[unix.CAP_BPF/32].Permitted
	// What is not inheritable is not ambient either.
	err := threads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	return nil
}

// Possible reports whether a child of this program can give up its rights. It asks once: every thread stops for that.
var Possible = sync.OnceValue(func() bool { return threads(unix.SYS_GETPPID, 0, 0, 0) == nil && architecture != 0 })

// threads makes a system call in every thread of this process.
func threads(call, a, b, c uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(call, a, b, c, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Commands of bpf(2), linux/bpf.h, that a child needs: make, fill, read, freeze and pin maps, and run a program.
var commands = []uint32{
	unix.BPF_MAP_CREATE, unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM,
	unix.BPF_MAP_GET_NEXT_KEY, unix.BPF_OBJ_PIN, unix.BPF_PROG_TEST_RUN, unix.BPF_OBJ_GET_INFO_BY_FD,
	unix.BPF_BTF_LOAD, unix.BPF_MAP_FREEZE, unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_MAP_UPDATE_BATCH,
}

// refused are the other system calls that a child does not need, and that reach what is not its own: other processes,
// other programs, the network, and the names of files and pins.
var refused = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KILL,
	unix.SYS_TKILL, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_RT_SIGQUEUEINFO,
	unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_PERF_EVENT_OPEN, unix.SYS_UNLINKAT,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKDIRAT,
	unix.SYS_MKNODAT, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_TRUNCATE, unix.SYS_IO_URING_SETUP,
	unix.SYS_OPENAT2,
}

// Offsets in struct seccomp_data, linux/seccomp.h. Arguments are 64 bits, and those that are looked at are small.
const (
	dataNumber = 0
	dataArch   = 4
	dataFirst  = 16 // argument
	dataThird  = 32
)

// x32 is the first number of amd64's other set of calls.
const x32 = 0x40000000

// writes are the flags of openat(2) by which a file is made or changed.
const writes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// filter refuses with EPERM what is not needed, in all threads. It is put by prctl(2): the unit's own filter
// (SystemCallFilter=@system-service) has no seccomp(2).
func filter() error {
	if architecture == 0 {
		return fmt.Errorf("filter the system calls of a taste: their numbers on %s are not known", runtime.GOARCH)
	}
	program := filterOf(architecture, uint32(os.Getpid()), slices.Concat(refusedHere, refused), commands)
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := threads(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(&p)
	if err != nil {
		return fmt.Errorf("filter the system calls of a taste: %w", err)
	}
	return nil
}

// filterOf allows all but the calls that are refused, files that are written, signals to others than pid, and commands
// of bpf(2) beside those. Another architecture's calls have other numbers: they are refused.
func filterOf(arch, pid uint32, calls, commands []uint32) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(test uint16, value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: value, Jt: yes, Jf: no}
	}
	deny := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	f := []unix.SockFilter{load(dataArch), is(unix.BPF_JEQ, arch, 1, 0), deny,
		load(dataNumber), is(unix.BPF_JGE, x32, 0, 1), deny}
	for _, call := range calls {
		f = append(f, is(unix.BPF_JEQ, call, 0, 1), deny)
	}
	f = append(f,
		is(unix.BPF_JEQ, unix.SYS_OPENAT, 0, 4), load(dataThird), is(unix.BPF_JSET, writes, 0, 1), deny, allow,
		is(unix.BPF_JEQ, unix.SYS_TGKILL, 0, 4), load(dataFirst), is(unix.BPF_JEQ, pid, 0, 1), allow, deny,
		is(unix.BPF_JEQ, unix.SYS_BPF, 1, 0), allow, load(dataFirst))
	for _, c := range commands {
		f = append(f, is(unix.BPF_JEQ, c, 0, 1), allow)
	}
	return append(f, deny)
}
