// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killWait bounds how long Close waits for killed children to be gone.
const killWait = 2 * time.Second

// child is a started process. The pidfd keeps pid from being mistaken for a
// later process that was given the same number.
type child struct{ pid, pidfd int }

// Start starts cmd in the namespace, as leader of its own process group. Only
// the network namespace is new to it: it sees the same mounts, bpffs included.
// The kernel kills it when this process dies, and Namespace.Close kills its
// whole group. The caller calls cmd.Wait, as after cmd.Start.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Setpgid, attr.Pgid = true, 0
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
	return n.call(func() error {
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s in namespace %s: %w", cmd.Path, n.name, err)
		}
		fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		if err != nil {
			err = fmt.Errorf("pidfd of %s: %w", cmd.Path, err)
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.forgetReaped()
		n.children = append(n.children, child{cmd.Process.Pid, fd})
		return nil
	})
}

// forgetReaped drops the children that were waited for; n.mu is held.
func (n *Namespace) forgetReaped() {
	keep := n.children[:0]
	for _, c := range n.children {
		if c.signal(0) == nil {
			keep = append(keep, c)
			continue
		}
		unix.Close(c.pidfd)
	}
	n.children = keep
}

// signal sends sig to the process, or with 0 asks whether it is still there.
func (c child) signal(sig unix.Signal) error {
	return unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
}

// killChildren kills every group whose leader was not waited for, and waits
// until the leaders have ended.
func (n *Namespace) killChildren() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, c := range n.children {
		if c.signal(0) == nil { // not reaped, so the group id is still its own
			errs = append(errs, ignore(unix.Kill(-c.pid, unix.SIGKILL), unix.ESRCH))
		}
	}
	deadline := time.Now().Add(killWait)
	for _, c := range n.children {
		if !c.ended(time.Until(deadline)) {
			errs = append(errs, fmt.Errorf("process %d did not end when killed", c.pid))
		}
		unix.Close(c.pidfd)
	}
	n.children = nil
	return errors.Join(errs...)
}

// ended waits until the process has ended, or wait is over.
func (c child) ended(wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		left := max(0, int(time.Until(deadline).Milliseconds()))
		fds := []unix.PollFd{{Fd: int32(c.pidfd), Events: unix.POLLIN}}
		k, err := unix.Poll(fds, left)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return k == 1
	}
}

// ignore returns nil for the one error that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
