// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// F17: whoever presses Ctrl-C in an apply is told what became of it, not that it was interrupted while it is in force.
func TestF17InterruptedApplySaysWhatBecameOfIt(t *testing.T) {
	for _, row := range []struct {
		name    string
		rollout *api.Rollout
		want    string
		not     string
	}{
		{"in force", &api.Rollout{State: api.RolloutDone, Change: api.Change{Outcome: api.OutcomeApplied, Number: 7}},
			"but it is done: generation 7 is applied", "nothing was changed"},
		{"a candidate", &api.Rollout{State: api.RolloutWaiting, Change: api.Change{Number: 8}},
			"generation 8 is the candidate", "nothing was changed"},
		{"withdrawn", &api.Rollout{State: api.RolloutWithdrawn}, "interrupted: nothing was changed", "done"},
		{"refused", &api.Rollout{State: api.RolloutRefused}, "interrupted: nothing was changed", "done"},
		{"the same again", &api.Rollout{State: api.RolloutDone, Change: api.Change{Outcome: api.OutcomeUnchanged}},
			"in force already", "but it is done"},
		{"unknown", nil, "knows nothing of this apply", "nothing was changed"},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			s := newShell(t)
			bundle := s.write("bundle.yaml", soundBundle)
			ctx, interrupt := context.WithCancel(context.Background())
			s.ctx = ctx
			var key atomic.Value
			asked := 0
			mux := http.NewServeMux()
			mux.HandleFunc("POST /v1/rollouts", func(_ http.ResponseWriter, r *http.Request) {
				var q api.RolloutRequest
				if parts, err := r.MultipartReader(); err == nil {
					if part, err := parts.NextPart(); err == nil {
						_ = json.NewDecoder(part).Decode(&q)
					}
				}
				key.Store(q.Key)
				interrupt()
				<-r.Context().Done()
			})
			mux.HandleFunc("GET /v1/rollouts", func(w http.ResponseWriter, _ *http.Request) {
				list := &api.RolloutList{Rollouts: []api.Rollout{{ID: "1", Key: "another's", State: api.RolloutDone}}}
				if row.rollout != nil {
					now := *row.rollout
					now.Key = key.Load().(string)
					if asked++; asked < 3 {
						now.State = api.RolloutBuilding
					}
					list.Rollouts = append(list.Rollouts, now)
				}
				_ = json.NewEncoder(w).Encode(list)
			})
			serveShell(s, mux)
			s.want(exitError, "apply", bundle, "--yes")
			s.wantErr(row.want)
			if strings.Contains(s.stderr, row.not) {
				t.Errorf("stderr has %q: %s", row.not, s.stderr)
			}
			if k, _ := key.Load().(string); len(k) < 20 {
				t.Errorf("the key is %q", k)
			}
		})
	}
}

// serveShell answers on the shell's socket until the test ends.
func serveShell(s *shell, h http.Handler) {
	s.t.Helper()
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	s.t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
}

// Who may not connect is not told that no agent answers.
func TestSocketOfOthers(t *testing.T) {
	s := newShell(t)
	startAgent(s)
	if err := os.Chmod(s.socket, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("another user cannot be played without root")
	}
	c := s.spillway("ban", "203.0.113.7")
	c.Path = readableCopy(t)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "may not use the agent's socket") ||
		strings.Contains(string(out), "no agent answers") {
		t.Errorf("%v: %s", err, out)
	}
}

// readableCopy is this test's binary where every user may run it.
func readableCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spillway-copy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "spillway")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}
