// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/lab"
)

// lines splits what is written into lines. One goroutine writes: both streams of a program are one pipe.
type lines struct {
	read func(line string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.read(string(line))
		l.rest = rest
	}
}

// program is a client that is a process, with a group of its own.
type program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process was waited for
}

// startProgram starts a command outside of the edge; c counts what it says.
func startProgram(ctx context.Context, l *lab.Lab, c *client, home string, args ...string) (*program, error) {
	p := &program{cmd: exec.CommandContext(ctx, args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Dir = home
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C.UTF-8"}
	p.cmd.WaitDelay = time.Second
	out := &lines{read: c.read}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Cancel = p.kill
	if err := l.Out.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended stands in ProcessState
	}()
	return p, nil
}

// kill ends the whole group: a browser is many processes.
func (p *program) kill() error {
	return ignore(unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL), unix.ESRCH)
}

// stop kills it, unless it has ended, and waits.
func (p *program) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.kill()
	<-p.done
}

// over says how it ended, "" while it runs.
func (p *program) over() string {
	select {
	case <-p.done:
		return p.cmd.ProcessState.String()
	default:
		return ""
	}
}
