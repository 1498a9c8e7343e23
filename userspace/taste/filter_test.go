// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attacks are deeds of somebody who has taken a child over: each reaches the agent, its files or its kernel by a way of
// its own, and none asks for a capability that the child lacks.
var attacks = []struct {
	name string
	do   func(*tools) error
}{
	{"kill the agent by the owner of a pipe", killByPipe},
	{"take descriptors from the agent", func(w *tools) error {
		return unix.Prlimit(w.agent, unix.RLIMIT_NOFILE, &unix.Rlimit{}, nil)
	}},
	{"take processors from the agent", func(w *tools) error {
		var one unix.CPUSet
		one.Set(0)
		return unix.SchedSetaffinity(w.agent, &one)
	}},
	{"take priority from the agent", func(w *tools) error { return unix.Setpriority(unix.PRIO_PROCESS, w.agent, 19) }},
	{"kill the agent", func(w *tools) error { return unix.Kill(w.agent, unix.SIGKILL) }},
	{"kill a thread of the agent", func(w *tools) error { return unix.Tgkill(w.agent, w.agent, unix.SIGKILL) }},
	{"queue a signal", func(w *tools) error { return call(unix.SYS_RT_SIGQUEUEINFO, uintptr(w.agent), 9, 0) }},
	{"open the agent as a descriptor", func(w *tools) error { _, err := unix.PidfdOpen(w.agent, 0); return err }},
	{"kill by the agent's folder in /proc", func(w *tools) error {
		f, err := os.Open(fmt.Sprintf("/proc/%d", w.agent))
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0)
	}},
	{"trace the agent", func(w *tools) error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(w.agent), 0) }},
	{"read the agent's memory", func(w *tools) error {
		return call(unix.SYS_PROCESS_VM_READV, uintptr(w.agent), 0, 0)
	}},
	{"close a record to the agent", func(w *tools) error {
		return readOnly(w.file, func(fd int) error { return unix.Fchmod(fd, 0) })
	}},
	{"close a record by its name", func(w *tools) error { return call(fchmodat2, 0, 0, 0) }},
	{"lock a record", func(w *tools) error {
		return readOnly(w.file, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	}},
	{"take a lease of a record", func(w *tools) error {
		return readOnly(w.file, func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
			return err
		})
	}},
	{"leave another process behind", func(*tools) error { return fork() }},
	{"leave its group", func(*tools) error { _, err := unix.Setsid(); return err }},
	{"outlive the agent", func(*tools) error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
	{"type in the terminal", func(*tools) error { return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0) }},
	{"keep memory that no limit counts", func(*tools) error { _, err := unix.MemfdCreate("x", 0); return err }},
	{"make calls by a ring", func(*tools) error { return call(unix.SYS_IO_URING_SETUP, 1, 0, 0) }},
	{"use a command of bpf(2) beside its own", func(*tools) error { return otherCommands() }},

	{"use a call that nobody named", func(*tools) error { return otherCalls(0) }},
	{"use the other set of calls", func(*tools) error { return otherCalls(x32) }},
	{"use the calls of another architecture", func(*tools) error { return callOf386() }},
}

const (
	fchmodat2 = 452
	lastCall  = 600        // more than any kernel has
	x32       = 0x40000000 // the first number of amd64's other set

)

func call(number, a, b, c uintptr) error {
	if _, _, errno := syscall.Syscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// killByPipe makes the agent the owner of a pipe that tells of data with SIGKILL: fcntl(2), F_SETSIG.
func killByPipe(w *tools) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	for _, set := range [][2]int{{unix.F_SETOWN, w.agent}, {unix.F_SETSIG, int(unix.SIGKILL)},
		{unix.F_SETFL, unix.O_ASYNC}} {
		if _, err := unix.FcntlInt(uintptr(p[0]), set[0], set[1]); err != nil {
			return err
		}
	}
	_, err := unix.Write(p[1], []byte{0})
	return err
}

func readOnly(path string, do func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(int(f.Fd()))
}

func fork() error {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// refusedEach is EPERM when each of these calls is refused with it; else it names those that are not.
func refusedEach(what string, numbers []int, do func(n int) error) error {
	var open []string
	for _, n := range numbers {
		if err := do(n); !errors.Is(err, unix.EPERM) {
			open = append(open, fmt.Sprintf("%s %d: %v", what, n, err))
		}
	}
	if open != nil {
		return fmt.Errorf("%v", open)
	}
	return unix.EPERM
}

// otherCommands tries every command of bpf(2) beside those of a child, with attributes of several sizes, and the flags
// that a kernel may take beside a command.
func otherCommands() error {
	attr := make([]byte, 256)
	var numbers []int
	for n := range 64 {
		if !slices.Contains(commands, uint32(n)) {
			numbers = append(numbers, n)
		}
		numbers = append(numbers, n|1<<16)
	}
	return refusedEach("command", numbers, func(n int) error {
		for _, size := range []uintptr{0, 4, 16, 72, 128, 256} {
			if err := call(unix.SYS_BPF, uintptr(n), uintptr(unsafe.Pointer(&attr[0])), size); !errors.Is(err, unix.EPERM) {
				return fmt.Errorf("%d bytes: %w", size, err)
			}
		}
		return unix.EPERM
	})
}

// unfiltered are calls that no filter sees: a kernel's own traps make them, and kill who else does (kernel/seccomp.c,
// since 6.12).
var unfiltered = map[string][]uint32{"amd64": {335, 336}}[runtime.GOARCH] // uretprobe, uprobe

// otherCalls tries every call that nobody named, from this number on, with arguments that no call takes.
func otherCalls(from int) error {
	var numbers []int
	limited := limitedCalls(0)
	for n := range lastCall {
		named := slices.Contains(needed, uint32(n)) || slices.Contains(unfiltered, uint32(n)) ||
			slices.ContainsFunc(limited, func(l limitedCall) bool { return l.call == uint32(n) })
		if from != 0 || !named {
			numbers = append(numbers, from+n)
		}
	}
	none := ^uintptr(0)
	return refusedEach("call", numbers, func(n int) error {
		if _, _, errno := syscall.Syscall6(uintptr(n), none, none, none, none, none, none); errno != 0 {
			return errno
		}
		return nil
	})
}

// callOf386 asks for getpid(2) by interrupt 0x80, as a program of the older architecture: number 20 there, and
// writev(2) here, which a child needs. A kernel without these calls faults instead, which refuses them as well.
func callOf386() (err error) {
	if runtime.GOARCH != "amd64" {
		return unix.EPERM
	}
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory for code: %v", err)
	}
	copy(code, []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20
		0xcd, 0x80, // int 0x80
		0xc3, // ret
	})
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = unix.EPERM
		}
	}()
	at := &code[0] // what a value of a function points to begins with where its code is
	function := unsafe.Pointer(&at)
	if got := (*(*func() uint64)(unsafe.Pointer(&function)))(); int32(got) < 0 {
		return syscall.Errno(-int32(got))
	}
	return nil
}

// standIn starts what stands for the agent: a process of the same user with its rights. It ends with this one.
func standIn() (pid int, err error) {
	cmd := exec.Command("/proc/self/exe", standInChild)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}
