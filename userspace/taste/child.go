// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spillway/spillway/userspace/rollout"
)

// child is the process, and what it said.
type child struct {
	limits   Limits
	out      limited
	err      head
	hindered string // what of the host kept it from its end until it was killed
}

// run starts the process in a group of its own and waits for it. When ctx ends, the whole group is killed.
func (c *child) run(ctx context.Context, program []string, golden bool, input []byte) error {
	// The kernel kills the child with the thread that started it: an agent that is killed leaves none.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	args := append(program[1:len(program):len(program)], fmt.Sprintf("%s=%d", memoryFlag, c.limits.Memory))
	if golden {
		args = append(args, goldenFlag)
	}
	cmd := exec.CommandContext(ctx, program[0], args...)
	cmd.Dir, cmd.Env = "/", []string{fmt.Sprintf("GOMEMLIMIT=%d", c.limits.Memory/4*3)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &c.out, &c.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		c.hindered = hindered(os.DirFS("/proc"), cmd.Process.Pid, c.limits.Wall)
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	cmd.WaitDelay = time.Second // whoever else holds its pipes
	if err := cmd.Start(); err != nil {
		return &startError{err}
	}
	// Background work: the agent, and what serves visitors, come first.
	_ = syscall.Setpriority(syscall.PRIO_PGRP, cmd.Process.Pid, nice)
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left
	return err
}

const nice = 5

// startError: there was no child.
type startError struct{ error }

// judge tells how a child ended that ended by itself.
func (c *child) judge(req *Request, err error) Result {
	var exit *exec.ExitError
	switch {
	case errors.As(err, new(*startError)):
		return failed(fmt.Errorf("start the child: %w", err))
	case errors.As(err, &exit):
		return c.judgeExit(exit)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return failed(fmt.Errorf("wait for the child: %w", err))
	}
	var r Result
	if err := json.Unmarshal(c.out.kept.Bytes(), &r); err != nil {
		return ended(rollout.TasteCrashed,
			fmt.Sprintf("Its answer of %d bytes cannot be read: %v. %s", c.out.kept.Len(), err, &c.err))
	}
	if lie := r.lie(req); lie != "" {
		return ended(rollout.TasteWrong, lie)
	}
	r.Folder = req.Folder()
	return r
}

// judgeExit tells a child that crashed from one that exceeded its memory, and from one that somebody killed: the
// kernel, when the host is short of memory. That says nothing of the bundle.
func (c *child) judgeExit(exit *exec.ExitError) Result {
	status, _ := exit.Sys().(syscall.WaitStatus)
	said := c.err.String()
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return failed(errors.New("somebody killed the child, or the host was short of memory"))
	case strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory"):
		if c.limits.Memory < memoryMost {
			return failed(fmt.Errorf("this host has no more than %d MiB for it, and it wanted more", c.limits.Memory>>20))
		}
		return ended(rollout.TasteWrong, fmt.Sprintf("It wanted more than %d MiB of memory.", c.limits.Memory>>20))
	}
	return ended(rollout.TasteCrashed, fmt.Sprintf("%v: %s", exit, said))
}
