// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// hangingAgent takes connections and does nothing with them.
func hangingAgent(s *shell) {
	s.t.Helper()
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
}

// F18: every command ends in time beside an agent that hangs, says which process that is, and what to do.
func TestF18NoCommandHangs(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	hangingAgent(s)
	var wg sync.WaitGroup
	for _, args := range [][]string{{"status"}, {"verify"}, {"history"}, {"events"}, {"events", "--follow"},
		{"bans"}, {"plan", bundle},
		{"apply", bundle, "--yes"}, {"confirm"},
		{"rollback"}, {"reload"}, {"bypass", "on"}, {"bypass", "off"}, {"ban", "203.0.113.7"}, {"unban", "203.0.113.7"}} {
		wg.Go(func() { // all at once: each of them waits
			s := *s // its own output
			s.out, s.err = &bytes.Buffer{}, &bytes.Buffer{}
			s.env.stdout, s.env.stderr = s.out, s.err
			begun := time.Now()
			code := s.run(args...)
			if took := time.Since(begun); took > 30*time.Second { // hangPatience, and what a busy machine adds
				t.Errorf("%v took %s", args, took)
			}
			if args[0] == "history" { // from its file
				if code != exitOK {
					t.Errorf("%v: exit code %d", args, code)
				}
			} else if code != exitNoAgent {
				t.Errorf("%v: exit code %d, want %d", args, code, exitNoAgent)
			}
			s.wantErr(fmt.Sprintf("process %d", os.Getpid()))
			s.wantErr("systemctl restart spillway")
		})
	}
	wg.Wait()
}
