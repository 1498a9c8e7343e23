// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

/*
A filter of system calls is needed beside the capabilities: link_create of bpf(2) asks for CAP_BPF alone of whoever has
an XDP program, and the pins, the files and the agent belong to the child's own user. Such a user may end or starve the
agent in more ways than kill(2): fcntl(2) sends any signal to the owner of a pipe, prlimit(2) takes descriptors away. So
what a child needs is named, and all else is refused; a call that some later kernel has is refused as well.
*/

// needed are the calls of Go's runtime and of who reads files, makes maps and writes an answer, whatever their
// arguments.
var needed = []uint32{
	unix.SYS_READ, unix.SYS_READV, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_LSEEK,
	unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_GETDENTS64,
	unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_GETCWD, unix.SYS_PIPE2,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES,
	unix.SYS_GETTIMEOFDAY, unix.SYS_RESTART_SYSCALL, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_SETITIMER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2,
	unix.SYS_PPOLL, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_GETRANDOM,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID,
	unix.SYS_GETEGID, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRUSAGE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// commands of bpf(2), linux/bpf.h, that a child needs: make, fill, read, freeze and pin maps, and run a program.
var commands = []uint32{
	unix.BPF_MAP_CREATE, unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM,
	unix.BPF_MAP_GET_NEXT_KEY, unix.BPF_OBJ_PIN, unix.BPF_PROG_TEST_RUN, unix.BPF_OBJ_GET_INFO_BY_FD,
	unix.BPF_BTF_LOAD, unix.BPF_MAP_FREEZE, unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_MAP_UPDATE_BATCH,
}

// writes are the flags of openat(2) by which a file is made or changed.
const writes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// limitedCall is a call that a child needs with some arguments only. The kernel takes 32 bits of each that is looked
// at.
type limitedCall struct {
	call, argument uint32
	oneOf          []uint32 // what it may be; none: anything
	with, without  uint32   // bits, with one of oneOf or alone
}

func limitedCalls(pid uint32) []limitedCall {
	return []limitedCall{
		{call: unix.SYS_BPF, argument: 0, oneOf: commands},
		{call: unix.SYS_OPENAT, argument: 2, without: writes},
		{call: unix.SYS_CLONE, argument: 0, with: unix.CLONE_THREAD}, // another process could outlive this one
		{call: unix.SYS_TGKILL, argument: 0, oneOf: []uint32{pid}},
		// Not F_SETOWN and F_SETSIG, by which a pipe sends SIGKILL; nor locks and leases, for which the agent would wait.
		{call: unix.SYS_FCNTL, argument: 1, oneOf: []uint32{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
			unix.F_DUPFD_CLOEXEC}},
		{call: unix.SYS_PRCTL, argument: 0, oneOf: []uint32{unix.PR_SET_VMA}}, // names of memory; not: to outlive the agent
	}
}

// Offsets in struct seccomp_data, linux/seccomp.h.
const (
	dataNumber    = 0
	dataArch      = 4
	dataArguments = 16 // 64 bits each
)

// filter refuses with EPERM what is not needed, in all threads. It is put by prctl(2): the unit's own filter
// (SystemCallFilter=@system-service) has no seccomp(2).
func filter() error {
	if architecture == 0 {
		return fmt.Errorf("filter the system calls of a taste: their numbers on %s are not known", runtime.GOARCH)
	}
	program := filterOf(architecture, needed, limitedCalls(uint32(os.Getpid())))
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := threads(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(&p)
	if err != nil {
		return fmt.Errorf("filter the system calls of a taste: %w", err)
	}
	return nil
}

// filterOf allows these calls, and the limited ones with what they may have. Another architecture's calls have other
// numbers, and amd64's other set (x32) has numbers that are not named: both are refused.
func filterOf(arch uint32, calls []uint32, some []limitedCall) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(test uint16, value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: value, Jt: yes, Jf: no}
	}
	deny := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	f := []unix.SockFilter{load(dataArch), is(unix.BPF_JEQ, arch, 1, 0), deny, load(dataNumber)}
	for _, call := range calls {
		f = append(f, is(unix.BPF_JEQ, call, 0, 1), allow)
	}
	for _, l := range some {
		body := []unix.SockFilter{load(dataArguments + 8*l.argument)}
		if l.without != 0 {
			body = append(body, is(unix.BPF_JSET, l.without, 0, 1), deny)
		}
		if l.with != 0 {
			body = append(body, is(unix.BPF_JSET, l.with, 1, 0), deny)
		}
		for _, value := range l.oneOf {
			body = append(body, is(unix.BPF_JEQ, value, 0, 1), allow)
		}
		last := allow
		if len(l.oneOf) > 0 {
			last = deny
		}
		body = append(body, last)
		f = append(append(f, is(unix.BPF_JEQ, l.call, 0, uint8(len(body)))), body...)
	}
	return append(f, deny)
}
