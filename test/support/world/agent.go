// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

var (
	buildOnce sync.Once
	binary    string
	buildErr  error
)

// Binary builds the command once for this test process and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		folder, err := os.MkdirTemp("", "spillway-bin-")
		if err != nil {
			buildErr = err
			return
		}
		if buildErr = os.Chmod(folder, 0o755); buildErr != nil { // the agent's user starts it
			return
		}
		binary = filepath.Join(folder, "spillway")
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary,
			"github.com/spillway/spillway/cmd/spillway").CombinedOutput()
		if err != nil {
			buildErr = fmt.Errorf("build the command: %w: %s", err, out)
		}
	})
	Must(t, buildErr)
	return binary
}

// RemoveBinary takes away what Binary built; for TestMain.
func RemoveBinary() {
	if binary != "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
}

// Edge is a lab whose edge runs the real agent, the way a host does.
//
//	Folder            root's, everybody may pass through it
//	  spillway.yaml   root's, readable
//	  state, run      the agent's, as StateDirectory= and RuntimeDirectory= make them
//	Pins              the agent's, as ExecStartPre=+ makes it
type Edge struct {
	*lab.Lab
	Folder string
	Pins   string
	// Program is the command that runs; empty: the one of this tree.
	Program string

	t      testing.TB
	cmd    *exec.Cmd
	asRoot bool          // this start has all rights
	ended  chan struct{} // closed when the agent's process was waited for
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// NewEdge makes the lab and its files; the agent is started by Start.
func NewEdge(t testing.TB) *Edge {
	t.Helper()
	needRoot(t)
	l, err := lab.New(t.Context(), lab.Options{Name: "edge"})
	Must(t, err)
	e := &Edge{Lab: l, Folder: t.TempDir(), Pins: testPins(t), t: t, log: &syncBuffer{}}
	e.giveFolders()
	t.Cleanup(func() {
		e.Kill()
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", tail(e.log.String(), 60))
		}
	})
	e.WriteHost("enforce", Direct)
	return e
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (e *Edge) program() string {
	if e.Program != "" {
		return e.Program
	}
	return Binary(e.t)
}

// HostFile is where the host file lies.
func (e *Edge) HostFile() string { return filepath.Join(e.Folder, "spillway.yaml") }

// Socket is where the agent answers.
func (e *Edge) Socket() string { return filepath.Join(e.Folder, "run/spillway.sock") }

// State is the agent's state folder.
func (e *Edge) State() string { return filepath.Join(e.Folder, "state") }

// Direct are the guards of a host whose bundles are in force at once: for tests of what they do there, not of the way.
const Direct = "guards: {rollout: direct}"

// WriteHost writes the host file with this mode; more is appended as it is.
func (e *Edge) WriteHost(mode, more string) {
	e.t.Helper()
	text := fmt.Sprintf(`version: 1
max_mode: %s
interfaces: [{name: %s}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: plain, port: 80, kind: http}
listen: {socket: %s, metrics: ""}
paths: {state: %s, pins: %s}
%s
`, mode, e.EdgeIf, e.Socket(), e.State(), e.Pins, more)
	Must(e.t, os.WriteFile(e.HostFile(), []byte(text), 0o644))
}

// WriteBundle writes a bundle file and returns its path. body follows version and name.
func (e *Edge) WriteBundle(name, body string) string {
	e.t.Helper()
	path := filepath.Join(e.Folder, name+".yaml")
	Must(e.t, os.WriteFile(path, []byte("version: 1\nname: edge\n"+body), 0o644))
	return path
}

// Start starts the agent in the edge's namespace and waits until it answers.
func (e *Edge) Start() {
	e.t.Helper()
	e.StartWith()
	Eventually(e.t, "the agent answers", func() bool { return e.Answers() })
}

// StartWith starts the agent with the unit's rights, behind a wrapper command (strace and its arguments, say), and does
// not wait.
func (e *Edge) StartWith(wrapper ...string) *exec.Cmd {
	e.t.Helper()
	e.preparePins()
	e.asRoot = false
	return e.start(slices.Concat(wrapper, Rights()))
}

// StartAs starts it behind a wrapper that sees to the rights itself, as a person's sudo does.
func (e *Edge) StartAs(wrapper ...string) *exec.Cmd {
	e.t.Helper()
	e.asRoot = true
	return e.start(wrapper)
}

func (e *Edge) start(wrapper []string) *exec.Cmd {
	e.t.Helper()
	args := slices.Concat(wrapper, []string{e.program(), "--config", e.HostFile(), "run"})
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	Must(e.t, e.Edge.Start(cmd))
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	e.cmd, e.ended = cmd, ended
	return cmd
}

// Answers reports whether the agent answers its socket. It asks for what costs nothing and needs no kernel.
func (e *Edge) Answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c := api.NewClient(e.Socket())
	defer c.Close()
	_, err := c.History(ctx, 1)
	if err == nil && !e.asRoot {
		e.hasRights()
	}
	return err == nil
}

// Pid is the agent's process.
func (e *Edge) Pid() int { return e.cmd.Process.Pid }

// Kill sends SIGKILL to the agent's process group and waits for its end.
func (e *Edge) Kill() {
	if e.cmd == nil {
		return
	}
	if !e.Ended() { // its number may be somebody else's by now
		_ = unix.Kill(-e.cmd.Process.Pid, unix.SIGKILL)
	}
	<-e.ended
	e.cmd = nil
}

// Ended reports whether the agent's process is gone.
func (e *Edge) Ended() bool {
	select {
	case <-e.ended:
		return true
	default:
		return false
	}
}

// Wait waits until the agent's process ends by itself, for at most d; false when it goes on.
func (e *Edge) Wait(d time.Duration) bool {
	select {
	case <-e.ended:
		e.cmd = nil
		return true
	case <-time.After(d):
		return false
	}
}

// CLI runs the command in the edge's namespace and returns its output and exit code.
func (e *Edge) CLI(args ...string) (output string, code int) {
	e.t.Helper()
	return e.CLIWith(nil, args...)
}

// CLIWith is CLI behind a wrapper command. The code of a command that a signal ended is -1.
func (e *Edge) CLIWith(wrapper []string, args ...string) (output string, code int) {
	e.t.Helper()
	line := slices.Concat(wrapper, []string{e.program(), "--config", e.HostFile()}, args)
	cmd := exec.Command(line[0], line[1:]...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	Must(e.t, e.Edge.Start(cmd))
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.t.Fatalf("spillway %v: %v", args, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// MustCLI is CLI for what has to succeed.
func (e *Edge) MustCLI(args ...string) string {
	e.t.Helper()
	out, code := e.CLI(args...)
	if code != 0 {
		e.t.Fatalf("spillway %v: exit %d: %s", args, code, out)
	}
	return out
}

// Adopt opens the pinned maps beside the agent, as the command line does without one.
func (e *Edge) Adopt() *loader.Dataplane {
	e.t.Helper()
	d, err := loader.Adopt(e.Pins)
	Must(e.t, err)
	e.t.Cleanup(func() { _ = d.Close() })
	return d
}

// Log is what the agent has said so far.
func (e *Edge) Log() string { return e.log.String() }
