// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Every state of a host that a person may meet, as it looks.
func TestStatusScreens(t *testing.T) {
	cases := []struct {
		name string
		read func(*view.Reading)
		tell func(*api.Status)
		code int
	}{
		{"status-enforce", nil, nil, exitOK},
		{"status-service-bypass", func(r *view.Reading) { r.Services[2] = loader.In(25*time.Minute + time.Second/2) }, nil,
			exitDegraded},
		{"status-observe", func(r *view.Reading) { r.Control.Mode = bpf.ModeObserve }, func(st *api.Status) {
			for i, p := range st.Packets {
				if p.Verdict == "drop" {
					st.Packets[i].Verdict = "would_drop"
				}
			}
			st.LastKnownGood.Digest, st.LastKnownGood.Number = digest(0x11), 11
			st.Bake = &api.Bake{Digest: digest(0xa0), Number: 12, Until: now.Add(4*time.Minute + 20*time.Second)}
		}, exitOK},
		{"status-bypass", func(r *view.Reading) { r.Bypass = loader.DeadlineForever }, func(st *api.Status) {
			st.Bypass.Since, st.Bypass.By, st.Bypass.Reason = now.Add(-2*time.Hour), "root", "false positives at the shop"
		}, exitDegraded},
		{"status-candidate", func(r *view.Reading) {
			r.Generations[0].Role, r.Generations[0].Number = "candidate", 13
			r.Control.Candidate, r.Control.Previous, r.Control.Canary = 1, 0, 1000
			r.Lease = loader.In(4200 * time.Millisecond)
		}, func(st *api.Status) {
			st.Confirm = &api.Confirm{Digest: digest(0x11), Number: 13, Deadline: now.Add(4*time.Minute + 11*time.Second)}
		}, exitOK},
		{"status-foreign", func(r *view.Reading) {
			r.Interfaces[0].Device.Programs[0].ID = 9
			r.Attach["eth0"] = api.Problem{Code: "attach",
				Message: "attach to eth0: another XDP program is attached: program \"xdp_filter\", id 9: it is left alone; take it off with the tool that put it there",
				Fix:     "remove the other XDP program, or take the interface out of the host file; Spillway never replaces it"}
		}, func(st *api.Status) { st.Agent.State = api.StateUnprotected }, exitDegraded},
		{"status-unprotected", func(r *view.Reading) { r.Interfaces[0].Device.Programs = nil }, func(st *api.Status) {
			st.Mode, st.Control, st.Generations, st.Packets, st.LastKnownGood = "", nil, nil, nil, nil
			st.Agent.State = api.StateUnprotected
		}, exitDegraded},
		{"status-pins", func(r *view.Reading) { r.Heartbeat, r.Agent = 310*time.Second, view.Absent }, func(st *api.Status) {
			st.Source, st.Agent, st.LastKnownGood, st.MaxMode = api.SourcePins, nil, nil, ""
		}, exitDegraded},
		{"status-hung", func(r *view.Reading) { r.Heartbeat, r.Agent, r.AgentPID = 310*time.Second, view.Hung, 812 },
			func(st *api.Status) {
				st.Source, st.Agent, st.LastKnownGood, st.MaxMode = api.SourcePins, nil, nil, ""
			}, exitDegraded},
		{"status-first-day", func(r *view.Reading) {
			r.Control.Mode, r.Control.Stable, r.Generations = bpf.ModeObserve, 0, nil
		}, func(st *api.Status) { st.Packets, st.LastKnownGood, st.Bans = nil, nil, 0 }, exitDegraded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t)
			r := serving()
			if c.read != nil {
				c.read(r)
			}
			st := told(r)
			if c.tell != nil {
				c.tell(st)
			}
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
	if got.SchemaVersion != api.SchemaVersion || got.Generations[1].Number != 12 ||
		got.Generations[1].Digest != digest(0xa0) {
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
		plain := strings.NewReplacer("\x1b[0m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[1;31m", "", "\x1b[1m",
			"").Replace(s.stdout)
		golden(t, "status-enforce", plain)
	}
}
