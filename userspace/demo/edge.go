// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
	"github.com/spillway/spillway/userspace/rights"
)

// commandLimit bounds one command, so that a hang becomes an error. A good one takes well below a second.
const commandLimit = 60 * time.Second

// edge is the host that Spillway protects: the binary is run in its network namespace and with its host file.
type edge struct {
	exe  string
	work *workspace
	lab  *lab.Lab
}

// result is a command that ended.
type result struct {
	exit           int
	stdout, stderr string
	took           time.Duration
}

// complaint is what it said when it failed, without the final line break.
func (r result) complaint() string { return strings.TrimSpace(r.stderr) }

// command prepares the binary with these arguments. The host file goes in by the environment, so that what the screen
// shows is what runs. It belongs to the edge: Ctrl-C at the terminal does not reach it, the demo's death does.
func (e *edge) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.exe, args...)
	cmd.Dir = e.work.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.work.dir, "LC_ALL=C", "NO_COLOR=1",
		"SPILLWAY_CONFIG=" + e.work.path(hostFile)}
	cmd.WaitDelay = 5 * time.Second // on a busy machine its last words take a while
	return cmd
}

// run runs a command to its end. An exit code is no error; a command that could not run or was cut off is.
func (e *edge) run(ctx context.Context, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := e.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := e.lab.Edge.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	r := result{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(begin)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("spillway %s: %w", args[0], ctx.Err())
	case errors.As(err, &exit) && exit.Exited():
		r.exit = exit.ExitCode()
	case err != nil:
		return r, fmt.Errorf("spillway %s: %w", args[0], err)
	}
	return r, nil
}

// status asks with the command, which reads the pinned maps when there is no agent.
func (e *edge) status(ctx context.Context) (*api.Status, error) {
	r, err := e.run(ctx, "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	s := new(api.Status)
	if err := json.Unmarshal([]byte(r.stdout), s); err != nil {
		return nil, fmt.Errorf("read `spillway status -o json` (exit code %d, %s): %w", r.exit, r.complaint(), err)
	}
	return s, nil
}

const (
	// agentReady bounds how long the agent may take to load, attach and answer.
	agentReady = 30 * time.Second
	// agentStop is how long it may take to leave before it is killed.
	agentStop = 5 * time.Second
)

// agent is a running `spillway run`.
type agent struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process was waited for
}

// startAgent starts the agent and returns when it answers and the interface is attached.
func (e *edge) startAgent(ctx context.Context) (*agent, error) {
	a := &agent{log: e.work.path("agent.log"), done: make(chan struct{})}
	f, err := os.OpenFile(a.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	defer f.Close()
	exe, err := os.Open(e.exe)
	if err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	defer exe.Close()
	if err := pins.PrepareFolder(e.work.pins(), agentID, agentID); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	a.cmd = e.command(context.WithoutCancel(ctx), "run")
	a.cmd.Stdout, a.cmd.Stderr = f, f
	// As its unit runs it. The program may lie where that user cannot come; it is opened here.
	rights.Take(a.cmd, agentID, agentID)
	a.cmd.Path, a.cmd.Err, a.cmd.ExtraFiles = "/proc/self/fd/3", nil, []*os.File{exe}
	if err := e.lab.Edge.Start(a.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(a.done)
		_ = a.cmd.Wait() // how it ended stands in ProcessState
	}()
	if err := a.waitReady(ctx, e.work.socket(), e.lab.EdgeIf); err != nil {
		a.stop()
		return nil, fmt.Errorf("start the agent: %w; it said:\n%s", err, a.lastWords())
	}
	return a, nil
}

func (a *agent) waitReady(ctx context.Context, socket, iface string) error {
	ctx, cancel := context.WithTimeout(ctx, agentReady)
	defer cancel()
	client := api.NewClient(socket)
	defer client.Close()
	last := errors.New("no answer yet")
	for {
		s, err := client.Status(ctx)
		switch {
		case err == nil && attached(s, iface):
			return a.hasRights()
		case err == nil && len(s.Problems) > 0:
			last = errors.New(s.Problems[0].Message)
		case err != nil && ctx.Err() == nil:
			last = err
		}
		select {
		case <-a.done:
			return fmt.Errorf("it ended (%s)", a.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hasRights makes sure that what the demo shows is shown by an agent with the unit's rights.
func (a *agent) hasRights() error {
	has, err := rights.Process(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if wrong := rights.Differ(has, agentID, agentID); len(wrong) > 0 {
		return fmt.Errorf("the agent does not run as its unit: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func attached(s *api.Status, iface string) bool {
	for _, i := range s.Interfaces {
		if i.Name == iface {
			return i.State == "attached"
		}
	}
	return false
}

// kill ends the agent as the kernel's OOM killer would, and waits until it is gone.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill()
	<-a.done
}

// stop asks the agent to leave and kills it when it does not. It may be called again.
func (a *agent) stop() {
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.done:
	case <-time.After(agentStop):
		a.kill()
	}
}

// lastWords returns the end of its log.
func (a *agent) lastWords() string {
	data, err := os.ReadFile(a.log)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
