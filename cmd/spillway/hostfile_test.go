// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/state"
)

// runs starts the agent as a process, waits until it answers, and returns its status; nil when it ends before.
func (s *shell) runs(t *testing.T) (*api.Status, string) {
	t.Helper()
	c := s.spillway("run")
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for range 600 {
		select {
		case <-ended:
			return nil, log.String()
		case <-time.After(100 * time.Millisecond):
		}
		client := api.NewClient(s.socket)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		st, err := client.Status(ctx)
		cancel()
		client.Close()
		if err == nil {
			_ = c.Process.Signal(syscall.SIGTERM)
			<-ended
			return st, log.String()
		}
	}
	_ = c.Process.Kill()
	<-ended
	t.Fatalf("the agent neither answers nor ends:\n%s", log.String())
	return nil, ""
}

// F12: an agent whose host file is broken starts with the last good one and says so; a first start has none,
// and refuses with the faults. A file that was kept for another path is nobody's.
func TestF12BadHostFileAtAStart(t *testing.T) {
	s := newShell(t)
	sound, err := os.ReadFile(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	bad := string(sound) + "max_mode: attack\n"
	s.write("host.yaml", bad)
	if st, log := s.runs(t); st != nil || !strings.Contains(log, "max_mode") {
		t.Errorf("a first start with a faulty file: status %+v\n%s", st, log)
	}
	store, err := state.Open(s.dir+"/state", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keep := func(path string) {
		t.Helper()
		if err := store.Hosts().SaveHost(path, sound); err != nil {
			t.Fatal(err)
		}
	}
	keep(s.dir + "/another.yaml")
	store.Close()
	if st, log := s.runs(t); st != nil {
		t.Errorf("it took the file that was kept for another path\n%s", log)
	}
	if store, err = state.Open(s.dir+"/state", state.Options{}); err != nil {
		t.Fatal(err)
	}
	keep(s.hostFile)
	store.Close()
	st, log := s.runs(t)
	if st == nil || !strings.Contains(log, "starts with the last good one") {
		t.Fatalf("it ends:\n%s", log)
	}
	told := false
	for _, p := range st.Problems {
		told = told || p.Code == hostfile.CodeNotInForce &&
			strings.Contains(p.Message, "is refused, so the last good one goes on")
	}
	if !told {
		t.Errorf("status does not say so: %+v", st.Problems)
	}
	s.write("host.yaml", string(sound))
	if st, _ = s.runs(t); st == nil {
		t.Fatal("it does not start with the mended file")
	}
	for _, p := range st.Problems {
		if p.Code == hostfile.CodeNotInForce {
			t.Errorf("the mended file: %+v", p)
		}
	}
}
