// SPDX-License-Identifier: Apache-2.0

package view_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
	"github.com/spillway/spillway/userspace/view/viewtest"
)

// TestF5OneMeaning: every state of the kernel has one meaning, whoever reads it, and no sentence says more than was
// read.
func TestF5OneMeaning(t *testing.T) {
	for _, m := range viewtest.Modes {
		t.Run(m.Name, func(t *testing.T) {
			r := viewtest.Serving()
			m.Change(r)
			v := view.Judge(*r)
			if v.State != m.State || !strings.Contains(v.Says, m.Says) {
				t.Errorf("state %s, want %s; it says %q, want %q in it", v.State, m.State, v.Says, m.Says)
			}
			if m.Problem != "" &&
				!slices.ContainsFunc(v.Problems, func(p api.Problem) bool { return p.Code == m.Problem && p.Fix != "" }) {
				t.Errorf("no problem %s with a fix in %+v", m.Problem, v.Problems)
			}
			if m.Problem == "" && len(v.Problems) > 0 {
				t.Errorf("problems: %+v", v.Problems)
			}
			if known := !m.Unknown; known && (v.Idle == "") != m.Bans {
				t.Errorf("idle is %q, and a ban blocks: %t", v.Idle, m.Bans)
			}
			if known := !m.Unknown; known && (v.BundleIdle == "") != m.Rules {
				t.Errorf("bundle idle is %q, and rules block: %t", v.BundleIdle, m.Rules)
			}
			trueWords(t, m.Rules, m.Bans, m.Unknown, v)
			if wrong := viewtest.FragmentWords(r, m, v.Says); wrong != "" {
				t.Error(wrong)
			}
			if wrong := viewtest.CanaryWords(r, m, v.Says); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// trueWords derives from the state what may be said.
func trueWords(t *testing.T, rules, bans, unknown bool, v view.Verdict) {
	t.Helper()
	all := v.Says
	for _, p := range v.Problems {
		all += "\n" + p.Message + "\n" + p.Fix
	}
	if v.Protected() && (!rules || unknown) {
		t.Errorf("protected, and what the rules find is not blocked: %s", all)
	}
	if strings.HasPrefix(v.Says, "Protected") != v.Protected() {
		t.Errorf("%q in state %s", v.Says, v.State)
	}
	for line := range strings.Lines(all) {
		if strings.Contains(line, "everything passes") && !strings.Contains(line, "everything passes there") &&
			!strings.Contains(line, " on eth0;") &&
			!strings.Contains(line, "; in ") && (bans || unknown) {
			t.Errorf("everything passes is not what was read: %q", line)
		}
		if strings.Contains(line, "only bans block") && !bans {
			t.Errorf("bans do not block: %q", line)
		}
	}
	if strings.Contains(all, "xdp off") {
		t.Errorf("a link refuses it: %s", all)
	}
	for _, i := range v.Interfaces {
		if i.Protected && (!rules || unknown && i.Name == "eth1") {
			t.Errorf("%s is protected: %+v", i.Name, i)
		}
	}
}

// What Read cannot read is unread, and never the zero value of something.
func TestReadKeepsWhatItCannotRead(t *testing.T) {
	k := &failing{err: errors.New("no")}
	r := view.Read(k, nobody{}, []string{"eth0"})
	for _, p := range []view.Part{view.PartGenerations, view.PartHost, view.PartLinks, view.PartRoot, view.PartWiring} {
		if r.Unread[p] == nil {
			t.Errorf("%s counts as read", p)
		}
	}
	if r.Untracked != nil {
		t.Errorf("connection tracking counts as off: %v", r.Untracked)
	}
	if v := view.Judge(r); v.State != api.StateUnknown {
		t.Errorf("state %s: %s", v.State, v.Says)
	}
}

type failing struct {
	view.Kernel
	err error
}

func (f *failing) Control() loader.Control                       { return loader.Control{} }
func (f *failing) Bypass() loader.Deadline                       { return 0 }
func (f *failing) Heartbeat() time.Duration                      { return 0 }
func (f *failing) Lease() loader.Deadline                        { return 0 }
func (f *failing) Tripped() loader.Trips                         { return loader.Trips{} }
func (f *failing) Generations() ([]loader.GenerationInfo, error) { return nil, f.err }
func (f *failing) Host() (*compile.HostInfo, error)              { return nil, f.err }
func (f *failing) Attachments() ([]loader.Attachment, error)     { return nil, f.err }
func (f *failing) RootID() (uint32, error)                       { return 0, f.err }
func (f *failing) VerifyWiring() ([]compile.Drift, error)        { return nil, f.err }
func (f *failing) Conntrack() error                              { return f.err }
func (f *failing) Unanswered() (map[int]bool, error)             { return nil, f.err }

type nobody struct{}

func (nobody) DeviceByName(string) (loader.Device, error) {
	return loader.Device{}, fmt.Errorf("netlink: %w", unix.EPERM)
}
func (nobody) DeviceByIndex(int) (loader.Device, error) {
	return loader.Device{}, fmt.Errorf("netlink: %w", unix.EPERM)
}

// Without an agent nobody attaches to an interface that appears.
func TestF17MissingInterfaceWithoutAgent(t *testing.T) {
	for agent, want := range map[view.Presence]bool{view.Answers: true, view.Absent: false, view.Hung: false} {
		r := viewtest.Serving()
		r.Agent, r.Interfaces[1] = agent, view.Interface{Name: "eth1", Err: loader.ErrNoDevice}
		fix := view.Judge(*r).Interfaces[1].Fix
		if strings.HasPrefix(fix, "it is attached as soon as") != want {
			t.Errorf("agent %v: %q", agent, fix)
		}
	}
}

// Malformed frames that were dropped, for their source or a ban, met a rule. What was counted before does not count
// again.
func TestMalformedFramesThatPassed(t *testing.T) {
	row := func(outcome bpf.DataplaneOutcome, packets uint64) loader.Counter {
		return loader.Counter{Service: 1, Reason: bpf.ReasonMalformed, Outcome: outcome, Packets: packets}
	}
	before := view.Count([]loader.Counter{row(bpf.OutcomePass, 500)})
	now := view.Count([]loader.Counter{row(bpf.OutcomePass, 620), row(bpf.OutcomeDrop, 80)})
	if got, want := now.Since(before).Frames, (view.Frames{All: 200, Malformed: 120}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	for _, c := range []struct {
		frames view.Frames
		told   bool
	}{
		{view.Frames{}, false}, {view.Frames{All: 99, Malformed: 99}, false}, {view.Frames{All: 100, Malformed: 100}, true},
		{view.Frames{All: 100_000, Malformed: 100}, false}, {view.Frames{All: 99_999, Malformed: 100}, true},
	} {
		if says := view.Malformed(c.frames, "in the last 10m"); (says != "") != c.told {
			t.Errorf("%+v: %q", c.frames, says)
		}
	}
}

// A connection that is tagged passes, and whoever reaches a limit was vouched for: neither is a first payload that
// nobody vouched for.
func TestTaggedAndLimitedConnectionsAreVouchedFor(t *testing.T) {
	row := func(reason bpf.Reason, outcome bpf.DataplaneOutcome, packets, connections uint64) loader.Counter {
		return loader.Counter{Service: 1, Reason: reason, Outcome: outcome, Packets: packets, Connections: connections}
	}
	got := view.Count([]loader.Counter{row(bpf.ReasonNoMatch, bpf.OutcomePass, 90, 10),
		row(bpf.ReasonJA4, bpf.OutcomeTag, 20, 20), row(bpf.ReasonJA4, bpf.OutcomeLimit, 9, 3),
		row(bpf.ReasonJA4, bpf.OutcomeWouldLimit, 4, 4), row(bpf.ReasonPrefix, bpf.OutcomeDrop, 70, 70),
		row(bpf.ReasonUnconfirmed, bpf.OutcomePass, 36, 0)}).First[1]
	if want := (view.First{Vouched: 37, Unvouched: 36}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Status tells the policy of what decides for everybody, service by service.
func TestStatusTellsThePolicyInForce(t *testing.T) {
	r := viewtest.Serving()
	p := config.Policy{Tag: 30, Limit: 50, Rate: viewtest.Rate}
	r.Generations[0].Policies = map[uint32]loader.ServicePolicy{11: {Counts: p}}
	r.Generations[1].Policies = map[uint32]loader.ServicePolicy{11: {Counts: config.Policy{Drop: 80}},
		22: {Counts: config.Policy{Drop: 80}}}
	says := func() (out []string) {
		s, _ := view.Status(*r)
		for _, v := range s.Services {
			if v.Policy != nil {
				out = append(out, v.Name+" "+v.Policy.String())
			}
		}
		return out
	}
	if got, want := says(), []string{"web tags from 30, limits from 50 (30/m by source)"}; !slices.Equal(got, want) {
		t.Errorf("stable: %q, want %q", got, want)
	}
	r.Control.Candidate, r.Control.Canary, r.Lease = 2, 50, loader.In(time.Hour)
	if got := says(); len(got) != 1 {
		t.Errorf("a canary is in force: %q", got)
	}
	r.Control.Canary = 1000
	if got, want := says(), []string{"web drops from 80", "shop drops from 80"}; !slices.Equal(got, want) {
		t.Errorf("a candidate for everybody: %q, want %q", got, want)
	}
}
