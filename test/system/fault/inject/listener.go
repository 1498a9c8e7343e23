// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fault is what happens to a call. The zero value lets it pass.
type Fault struct {
	Errno unix.Errno // the call is not made and returns this
	Kill  bool       // SIGKILL of the process that calls, before the call is made
	Whole bool       // the process that the wrapper started is killed, too, when it is a child of it that calls
	Torn  bool       // half of a write is made first; with Errno the fault then lasts
	Last  bool       // all later calls of the window return Errno, too
	Of    string     // only calls whose names begin so are counted
}

func (f Fault) String() string {
	name := "SIGKILL"
	if !f.Kill {
		name = unix.ErrnoName(f.Errno)
	}
	if f.Whole {
		name += " of all"
	}
	if f.Torn {
		name = "half a write, then " + name
	}
	if f.Last {
		name += " from there on"
	}
	return name
}

// Childs is before the name of a call of a child.
const Childs = "child: "

// Report says what happened in a window.
type Report struct {
	Seen int      // calls of the kind
	Hit  string   // the call that met the fault; "" when the window was shorter
	All  []string // each call by name, in order
}

// Listener counts the calls of the processes that its wrapper starts, and lets one of them fail.
type Listener struct {
	kind    Kind
	folders []string
	socket  *net.UnixListener
	path    string
	wg      sync.WaitGroup

	mu     sync.Mutex // orders calls: one is judged at a time
	armed  bool
	at     int
	fault  Fault
	report Report
	err    error
}

// Listen makes a listener. Of Disk's calls only those on files below the folders count; dir takes the listener's
// socket.
func Listen(dir string, kind Kind, folders ...string) (*Listener, error) {
	path := filepath.Join(dir, fmt.Sprintf("inject-%s.sock", kind))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for processes: %w", err)
	}
	l := &Listener{kind: kind, folders: folders, socket: socket, path: path}
	l.wg.Go(l.accept)
	return l, nil
}

// Wrapper is what a command line is put behind to run under this listener.
func (l *Listener) Wrapper() []string { return []string{os.Args[0], verb, l.path, string(l.kind)} }

// Kind is what the listener listens to.
func (l *Listener) Kind() Kind { return l.kind }

// Arm opens a window, in which the call number at, from 1, meets the fault; at 0 none does.
func (l *Listener) Arm(at int, f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.at, l.fault, l.report = true, at, f, Report{}
}

// Disarm closes the window.
func (l *Listener) Disarm() (Report, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	return l.report, l.err
}

// Hit is the call that has met the fault so far; "" none.
func (l *Listener) Hit() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report.Hit
}

// Close stops listening. The processes must have ended: the kernel fails the calls of those that have not.
func (l *Listener) Close() error {
	err := l.socket.Close()
	l.wg.Wait()
	return err
}

func (l *Listener) accept() {
	for {
		conn, err := l.socket.AcceptUnix()
		if err != nil {
			return
		}
		fd, pid, err := receive(conn)
		if err != nil {
			l.failed(err)
			_ = conn.Close()
			continue
		}
		l.wg.Go(func() {
			defer unix.Close(fd)
			defer conn.Close()
			if err := l.serve(fd, pid, conn); err != nil {
				l.failed(err)
			}
		})
	}
}

func (l *Listener) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

// receive takes the filter's descriptor and the process's number.
func receive(conn *net.UnixConn) (fd, pid int, err error) {
	space := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), space)
	if err != nil {
		return -1, 0, fmt.Errorf("receive the filter: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) != 1 {
		return -1, 0, fmt.Errorf("receive the filter: %d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, 0, fmt.Errorf("receive the filter: %d descriptors: %w", len(fds), err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	var peer *unix.Ucred
	var perr error
	err = raw.Control(func(s uintptr) { peer, perr = unix.GetsockoptUcred(int(s), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, perr); err != nil {
		return -1, 0, fmt.Errorf("ask who sent the filter: %w", err)
	}
	return fds[0], int(peer.Pid), nil
}

// serve answers for each call until the process ends.
func (l *Listener) serve(fd, pid int, conn *net.UnixConn) error {
	if _, err := conn.Write([]byte{1}); err != nil {
		return fmt.Errorf("let the process go on: %w", err)
	}
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			return nil // nobody is left
		}
		var n notification
		if errno := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR {
				continue // its process ended before we looked
			}
			return fmt.Errorf("receive a call: %w", errno)
		}
		r := l.judge(&n, pid)
		if errno := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); errno != 0 && errno != unix.ENOENT {
			return fmt.Errorf("answer a call: %w", errno)
		}
	}
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
	return errno
}

// judge decides about one call.
func (l *Listener) judge(n *notification, pid int) response {
	goOn := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	name := n.name(l.folders)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed || name == "" {
		return goOn
	}
	caller := n.process()
	if caller != pid {
		name = Childs + name
	}
	if !strings.HasPrefix(name, l.fault.Of) {
		return goOn
	}
	l.report.Seen++
	l.report.All = append(l.report.All, name)
	after := l.fault.Last && l.at > 0 && l.report.Seen > l.at
	if l.report.Seen != l.at && !after {
		return goOn
	}
	if !after {
		l.report.Hit = name
	}
	if l.fault.Torn && !after {
		half, err := n.tear(caller)
		l.err = errors.Join(l.err, err)
		if half > 0 && !l.fault.Kill {
			l.fault.Last = true // the writer comes again with the rest
			return response{id: n.id, value: int64(half)}
		}
	}
	if l.fault.Kill {
		l.err = errors.Join(l.err, unix.Kill(caller, unix.SIGKILL)) // it waits for our answer, so the number is its own
		if l.fault.Whole && caller != pid {
			l.err = errors.Join(l.err, unix.Kill(pid, unix.SIGKILL))
		}
		return response{id: n.id, errno: -int32(unix.EINTR)}
	}
	return response{id: n.id, errno: -int32(l.fault.Errno)}
}
