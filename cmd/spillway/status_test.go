// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
	"github.com/spillway/spillway/userspace/view/viewtest"
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
		{"status-limits", limiting, limitsCounted, exitOK},
		{"status-limits-observe", func(r *view.Reading) {
			limiting(r)
			r.Control.Mode = bpf.ModeObserve
		}, func(st *api.Status) {
			limitsCounted(st)
			would := map[string]string{"drop": "would_drop", "limit": "would_limit"}
			for i, p := range st.Packets {
				st.Packets[i].Verdict = cmp.Or(would[p.Verdict], p.Verdict)
			}
		}, exitOK},
		{"status-capped", func(r *view.Reading) {
			limiting(r)
			g := &r.Generations[1]
			g.Policies[loader.TagOf("shop")] = loader.ServicePolicy{Counts: config.Policy{Tag: 50}, Capped: true}
			g.Blocking.From[loader.TagOf("shop")], g.Blocking.Limits[loader.TagOf("shop")] = 0, 0
		}, nil, exitOK},
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

// limiting is a host whose bundle tags, limits and drops at the service web, and drops at the service shop.
func limiting(r *view.Reading) {
	g, web, shop := &r.Generations[1], loader.TagOf("web"), loader.TagOf("shop")
	p := config.Policy{Tag: 30, Limit: 50, Drop: 80, Reset: 95, Rate: viewtest.Rate}
	g.Policies = map[uint32]loader.ServicePolicy{web: {Counts: p}, shop: {Counts: config.Policy{Drop: 80}}}
	g.Blocking = compile.Blocking{From: map[uint32]uint8{web: 50, shop: 80}, Limits: map[uint32]uint8{web: 50},
		Reach: 100, Strong: true}
}

// limitsCounted tells what that counted.
func limitsCounted(st *api.Status) {
	st.Packets = append(st.Packets,
		api.Packets{Service: "web", Slot: 2, Reason: "ja4", Verdict: "tag", Packets: 1_990, Connections: 1_990},
		api.Packets{Service: "web", Slot: 2, Reason: "pair", Verdict: "tag", Packets: 12, Connections: 12},
		api.Packets{Service: "web", Slot: 2, Reason: "ja4", Verdict: "limit", Packets: 2_204, Connections: 611},
		api.Packets{Service: "web", Slot: 2, Reason: "allowed", Verdict: "pass", Packets: 40, Connections: 40})
	st.LimitsLost, st.LimitsEvicted = 3, 1
}

// The policy of each service is told as it counts, and reads back as what it was.
func TestStatusJSONOfLimits(t *testing.T) {
	s := newShell(t)
	r := serving()
	limiting(r)
	startAgent(s).answer("GET /v1/status", told(r))
	s.want(exitOK, "status", "-o", "json")
	for _, want := range []string{`"limit": 50`, `"connections": "30/m"`, `"by": "source"`, `"limitsLost": 0`} {
		if !strings.Contains(s.stdout, want) {
			t.Errorf("no %s in %s", want, s.stdout)
		}
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
