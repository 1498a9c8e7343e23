// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// Every state of a host that a person may meet, as it looks.
func TestStatusScreens(t *testing.T) {
	cases := []struct {
		name   string
		change func(*api.Status)
		code   int
	}{
		{"status-enforce", func(*api.Status) {}, exitOK},
		{"status-observe", func(st *api.Status) {
			st.Mode, st.MaxMode = "observe", "observe"
			for i, p := range st.Packets {
				if p.Verdict == "drop" {
					st.Packets[i].Verdict = "would_drop"
				}
			}
			st.LastKnownGood.Digest, st.LastKnownGood.Number = digest(0x11), 11
			st.Bake = &api.Bake{Digest: digest(0xa0), Number: 12, Until: now.Add(4*time.Minute + 20*time.Second)}
		}, exitOK},
		{"status-bypass", func(st *api.Status) {
			st.Protected = false
			st.Bypass = api.Bypass{Active: true, Since: now.Add(-2 * time.Hour), By: "root", Reason: "false positives at the shop"}
			st.Problems = []api.Problem{{Code: "bypass", Message: "the bypass is on: everything passes", Fix: "spillway bypass off"}}
		}, exitDegraded},
		{"status-candidate", func(st *api.Status) {
			st.Generations[0].Role = "candidate"
			st.Generations[0].Number = 13
			st.Control.CanaryPermille = 1000
			st.LeaseSecondsLeft = number(4.2)
			st.Confirm = &api.Confirm{Digest: digest(0x11), Number: 13, Deadline: now.Add(4*time.Minute + 11*time.Second)}
		}, exitOK},
		{"status-unprotected", func(st *api.Status) {
			st.Protected, st.Mode, st.Control, st.Generations, st.Packets, st.LastKnownGood = false, "", nil, nil, nil, nil
			st.Agent.State = api.StateUnprotected
			st.Interfaces = []api.Interface{{Name: "eth0", State: "failed", Problem: "another XDP program is attached", Fix: "ip link set dev eth0 xdp off"}}
			st.Problems = []api.Problem{{Code: "not_attached",
				Message: "attach to eth0: another XDP program is attached: program \"xdp_filter\", id 7: it is left alone",
				Fix:     "remove it first (`ip link set dev eth0 xdp off`, or its own tool)"}}
		}, exitDegraded},
		{"status-pins", func(st *api.Status) {
			st.Source, st.Agent, st.LastKnownGood, st.MaxMode = api.SourcePins, nil, nil, ""
			st.HeartbeatAgeSeconds = number(310)
			st.Problems = []api.Problem{{Code: "no_agent", Message: "no agent runs; in 9m50s everything passes", Fix: "systemctl start spillway, or: spillway run"}}
		}, exitDegraded},
		{"status-first-day", func(st *api.Status) {
			st.Protected, st.Generations, st.Packets, st.LastKnownGood, st.Bans = false, nil, nil, nil, 0
			st.Mode, st.MaxMode, st.Control.Stable = "observe", "observe", 0
			st.Problems = []api.Problem{{Code: "no_generation", Message: "no bundle is applied: everything passes", Fix: "spillway apply BUNDLE"}}
		}, exitDegraded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t)
			st := healthy()
			c.change(st)
			startAgent(s).answer("GET /v1/status", st)
			s.want(c.code, "status")
			golden(t, c.name, s.stdout)
			if s.stderr != "" {
				t.Errorf("stderr: %s", s.stderr)
			}
		})
	}
}

func TestStatusJSONIsWhatTheAgentSaid(t *testing.T) {
	s := newShell(t)
	startAgent(s).answer("GET /v1/status", healthy())
	s.want(exitOK, "status", "-o", "json")
	var got api.Status
	if err := json.Unmarshal([]byte(s.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.SchemaVersion != api.SchemaVersion || got.Generations[1].Number != 12 || got.Generations[1].Digest != digest(0xa0) {
		t.Errorf("status is %+v", got)
	}
}

// Colour is for terminals, and never alone: taking it away leaves the same words.
func TestColour(t *testing.T) {
	s := newShell(t)
	startAgent(s).answer("GET /v1/status", healthy())
	const escape = "\x1b["
	for _, c := range []struct {
		name string
		tty  bool
		vars map[string]string
		want bool
	}{
		{"a pipe", false, nil, false},
		{"a terminal", true, map[string]string{"TERM": "xterm"}, true},
		{"NO_COLOR", true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{"NO_COLOR wins", false, map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		{"a dumb terminal", true, map[string]string{"TERM": "dumb"}, false},
		{"forced", false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
	} {
		s.env.stdoutTTY = c.tty
		for _, k := range []string{"TERM", "NO_COLOR", "CLICOLOR_FORCE"} {
			s.vars[k] = c.vars[k]
		}
		s.want(exitOK, "status")
		if got := strings.Contains(s.stdout, escape); got != c.want {
			t.Errorf("%s: colour %t, want %t", c.name, got, c.want)
		}
		plain := strings.NewReplacer("\x1b[0m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[1;31m", "", "\x1b[1m", "").Replace(s.stdout)
		golden(t, "status-enforce", plain)
	}
}
