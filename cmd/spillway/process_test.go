// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// spillway is the command as a process of its own.
func (s *shell) spillway(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.CommandContext(s.t.Context(), self, args...)
	c.Env = append(os.Environ(), mainEnv+"=1", configEnv+"="+s.hostFile)
	return c
}

// A reader who leaves ends the command quietly, and what it held is free again.
func TestReaderWhoLeaves(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	var many []api.Event
	for range 5000 { // more than a pipe holds
		many = append(many,
			api.Event{Envelope: api.NewEnvelope(), Time: now, Source: "203.0.113.7", SourcePort: 9, Service: "web",
				Reason: "no_match", Verdict: "pass"})
	}
	a.answer("GET /v1/events", many)
	for _, args := range [][]string{{"events"}, {"events", "-o", "json"}, {"config", "schema", "host"},
		{"completion", "bash"}} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := s.spillway(args...)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = writer, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		writer.Close()
		first := make([]byte, 1)
		if _, err := reader.Read(first); err != nil {
			t.Errorf("%v: nothing was printed: %v", args, err)
		}
		reader.Close()
		err = c.Wait()
		var exit *exec.ExitError
		quiet := err == nil || errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGPIPE
		if !quiet || stderr.Len() > 0 {
			t.Errorf("%v: %v, stderr %q; want a quiet end", args, err, stderr.String())
		}
	}
}

// A killed process leaves no lock: the next one takes the state at once.
func TestKilledCommandLeavesNoLock(t *testing.T) {
	s := newShell(t)
	holder := s.spillway()
	holder.Env = append(holder.Env, holdEnv+"="+s.dir+"/state")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(holdsIt))
	if _, err := out.Read(line); err != nil || string(line) != holdsIt {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	if _, err := state.Open(s.dir+"/state", state.Options{}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second holder got %v, want ErrLocked", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	store, err := state.Open(s.dir+"/state", state.Options{})
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	store.Close()
}

const (
	holdEnv = "SPILLWAY_TEST_HOLD"
	holdsIt = "held\n"
)

// hold takes the state and waits to be killed.
func hold(dir string) int {
	if _, err := state.Open(dir, state.Options{}); err != nil {
		return exitError
	}
	os.Stdout.WriteString(holdsIt)
	time.Sleep(time.Hour)
	return exitOK
}

// The exit codes reach the shell.
func TestExitCodesOfTheProcess(t *testing.T) {
	s := newShell(t)
	for args, want := range map[string]int{"version": exitOK, "nonsense": exitUsage, "reload": exitNoAgent,
		"config check none": exitError} {
		err := s.spillway(strings.Fields(args)...).Run()
		got := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		}
		if got != want {
			t.Errorf("spillway %s exits with %d, want %d", args, got, want)
		}
	}
}
