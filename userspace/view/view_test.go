// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

const ours = 71

// serving is a host that protects: two interfaces, two services, one bundle that blocks from a score of 80.
func serving() *Reading {
	on := func(name string, index int) Interface {
		return Interface{Name: name, Device: loader.Device{Name: name, Index: index, Programs: []loader.DeviceProgram{{ID: ours, Mode: "native"}}}}
	}
	web, shop := loader.ServiceInfo{ID: 1, Name: "web", Tag: 11}, loader.ServiceInfo{ID: 2, Name: "shop", Tag: 22}
	blocks := loader.Blocking{From: map[uint32]uint8{web.Tag: 80, shop.Tag: 80}, Reach: 100, Strong: true}
	return &Reading{
		Control:     loader.Control{Mode: modeEnforce, Stable: 1, Host: 1},
		Heartbeat:   time.Second,
		Generations: []loader.GenerationInfo{{Slot: 1, Number: 7, Blocking: blocks}, {Slot: 2, Number: 8, Blocking: blocks}},
		Host:        &loader.HostInfo{AgentTimeout: 15 * time.Minute, Services: []loader.ServiceInfo{web, shop}},
		Services:    map[uint8]loader.Deadline{}, Root: ours, Unread: map[Part]error{}, Attach: map[string]api.Problem{},
		Interfaces: []Interface{on("eth0", 2), on("eth1", 3)},
		Links: []loader.Attachment{{Interface: "eth0", Index: 2, ProgramID: ours, State: loader.StateAttached, Here: true},
			{Interface: "eth1", Index: 3, ProgramID: ours, State: loader.StateAttached, Here: true}},
	}
}

func drift(where, want, got string) []loader.Drift {
	return []loader.Drift{{Where: where, Want: want, Got: got}}
}

var emptied = drift(loader.WherePrograms, "the dataplane", "nothing: what it would see passes")

// blocking replaces what the stable generation can block.
func blocking(b loader.Blocking) func(*Reading) {
	return func(r *Reading) { r.Generations[0].Blocking = b }
}

func bare(r *Reading, n int)       { r.Interfaces[n].Device.Programs = nil }
func foreign(r *Reading, n int)    { r.Interfaces[n].Device.Programs[0].ID = 9 }
func unread(p Part) func(*Reading) { return func(r *Reading) { r.Unread[p] = unix.ENOMEM } }
func control(f func(*loader.Control)) func(*Reading) {
	return func(r *Reading) { f(&r.Control) }
}

// modes are the states of a host in which every sentence must be true.
var modes = []struct {
	name   string
	change func(*Reading)
	state  string
	says   string // a part of the sentence
	// blocks: a packet of a banned source is dropped on the first interface; known: whether that can be read at all.
	bans, rules bool
	unknown     bool
	problem     string
}{
	{"enforce", func(*Reading) {}, api.StateProtected, "what the rules find is blocked", true, true, false, ""},
	{"observe", control(func(c *loader.Control) { c.Mode = bpf.DataplaneModeMODE_OBSERVE }), api.StateObserving, "everything passes (mode observe)", false, false, false, ""},
	{"bypass", func(r *Reading) { r.Bypass = loader.DeadlineForever }, api.StateBypassed, "everything passes, until `spillway bypass off`", false, false, false, "bypass"},
	{"bypass for a while", func(r *Reading) { r.Bypass = loader.In(30 * time.Minute) }, api.StateBypassed, "everything passes for 30m", false, false, false, "bypass"},
	{"bypass that is over", func(r *Reading) { r.Bypass = 1 }, api.StateProtected, "blocked", true, true, false, ""},
	{"bypass of a service", func(r *Reading) { r.Services[2] = loader.DeadlineForever }, api.StatePartly, "service shop passes", true, true, false, ""},
	{"bypass of every service", func(r *Reading) { r.Services[1], r.Services[2] = loader.DeadlineForever, loader.DeadlineForever },
		api.StateIdle, "every service that it could block for is bypassed", true, false, false, "bypass"},
	{"no bundle", control(func(c *loader.Control) { c.Stable = 0 }), api.StateIdle, "no bundle is in force; only bans block", true, false, false, "no_generation"},
	{"no bundle, observe", control(func(c *loader.Control) { c.Stable, c.Mode = 0, bpf.DataplaneModeMODE_OBSERVE }), api.StateObserving, "everything passes", false, false, false, "no_generation"},
	{"no bundle, bypass", func(r *Reading) { r.Control.Stable, r.Bypass = 0, loader.DeadlineForever }, api.StateBypassed, "everything passes", false, false, false, "bypass"},
	{"a candidate decides", func(r *Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Canary, r.Lease = 0, 2, 1000, loader.In(time.Hour)
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"a candidate whose lease ended", func(r *Reading) { r.Control.Stable, r.Control.Candidate, r.Control.Canary, r.Lease = 0, 2, 1000, 1 },
		api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"a candidate that tripped", func(r *Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Canary, r.Lease, r.Tripped = 0, 2, 1000, loader.In(time.Hour), 8
	}, api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"a candidate waits", func(r *Reading) { r.Control.Candidate, r.Control.Canary, r.Lease = 2, 1000, loader.In(time.Hour) }, api.StateProtected, "blocked", true, true, false, ""},
	{"a policy that never blocks", blocking(loader.Blocking{From: map[uint32]uint8{11: 0, 22: 0}, Reach: 100, Strong: true}),
		api.StateIdle, "neither drop nor reset", true, false, false, "never_blocks"},
	{"a policy that no score reaches", blocking(loader.Blocking{From: map[uint32]uint8{11: 80, 22: 90}, Reach: 60, Strong: true}),
		api.StateIdle, "add up to 60, and its policy blocks from 80", true, false, false, "never_blocks"},
	{"reasons alone", blocking(loader.Blocking{From: map[uint32]uint8{11: 80, 22: 90}, Reach: 100}), api.StateIdle, "reasons alone never do", true, false, false, "never_blocks"},
	{"an expired bundle", blocking(loader.Blocking{From: map[uint32]uint8{11: 80, 22: 80}, Strong: true, Expired: 4}), api.StateIdle, "have expired", true, false, false, "expired"},
	{"an expired bundle, observe", func(r *Reading) {
		blocking(loader.Blocking{From: map[uint32]uint8{11: 80, 22: 80}, Strong: true, Expired: 4})(r)
		r.Control.Mode = bpf.DataplaneModeMODE_OBSERVE
	}, api.StateObserving, "everything passes", false, false, false, "expired"},
	{"a service that the bundle does not know", blocking(loader.Blocking{From: map[uint32]uint8{11: 80}, Reach: 100, Strong: true}),
		api.StatePartly, "service shop is new to the bundle in force, which lets it pass", true, true, false, ""},
	{"no agent", func(r *Reading) { r.Agent, r.Heartbeat = Absent, 5*time.Minute }, api.StateProtected, "blocked", true, true, false, "no_agent"},
	{"no agent, observe", func(r *Reading) {
		r.Agent, r.Heartbeat, r.Control.Mode = Absent, 5*time.Minute, bpf.DataplaneModeMODE_OBSERVE
	}, api.StateObserving, "everything passes", false, false, false, "no_agent"},
	{"an agent on another socket", func(r *Reading) { r.Agent = Absent }, api.StateProtected, "blocked", true, true, false, "agent_elsewhere"},
	{"a hung agent", func(r *Reading) { r.Agent, r.AgentPID, r.Heartbeat = Hung, 812, time.Minute }, api.StateProtected, "blocked", true, true, false, "agent_hung"},
	{"agent lost", func(r *Reading) { r.Agent, r.Heartbeat = Absent, time.Hour }, api.StateUnprotected, "longer than guards.agent_timeout, everything passes", false, false, false, "agent_lost"},
	{"agent hung and lost", func(r *Reading) { r.Agent, r.AgentPID, r.Heartbeat = Hung, 812, time.Hour }, api.StateUnprotected, "everything passes", false, false, false, "agent_lost"},
	{"no agent, and it may stay away", func(r *Reading) { r.Agent, r.Heartbeat, r.Host.AgentTimeout = Absent, time.Hour, -1 }, api.StateProtected, "blocked", true, true, false, "no_agent"},
	{"an emptied PROG_ARRAY", func(r *Reading) { r.Wiring, r.Agent = emptied, Absent }, api.StateUnprotected, "no dataplane stands behind the root program, everything passes", false, false, false, "no_dataplane"},
	{"an emptied PROG_ARRAY, bypass", func(r *Reading) { r.Wiring, r.Bypass = emptied, loader.DeadlineForever }, api.StateBypassed, "everything passes", false, false, false, "bypass"},
	{"no payload program", func(r *Reading) {
		r.Wiring = drift(loader.WherePrograms, "the payload program, 12", "nothing: what it would see passes")
	},
		api.StatePartly, "what only a first payload tells passes", true, true, false, "wiring"},
	{"another dataplane", func(r *Reading) { r.Wiring = drift(loader.WherePrograms, "the dataplane, program 8", "program 9") }, api.StateUnknown, "not what is pinned", false, false, true, "wiring"},
	{"pins that were removed", func(r *Reading) { r.Wiring = drift(loader.WherePins, "all", "some") }, api.StateProtected, "blocked", true, true, false, "wiring"},
	{"an empty slot", func(r *Reading) {
		r.Wiring, r.Generations = drift("stable, slot 1", "a generation", "nothing: it passes"), nil
	}, api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"no host file", func(r *Reading) { r.Control.Host, r.Host = 0, nil }, api.StateUnprotected, "no host file is published, everything passes", false, false, false, "no_host"},
	{"an interface that is bare", func(r *Reading) { bare(r, 1) }, api.StatePartly, "nothing is attached to eth1", true, true, false, "not_attached"},
	{"all interfaces bare", func(r *Reading) { bare(r, 0); bare(r, 1) }, api.StateUnprotected, "nothing is attached, everything passes", false, false, false, "not_attached"},
	{"all bare, bypass", func(r *Reading) { bare(r, 0); bare(r, 1); r.Bypass = loader.DeadlineForever }, api.StateUnprotected, "everything passes", false, false, false, "bypass"},
	{"a lost interface", func(r *Reading) { r.Interfaces[1] = Interface{Name: "eth1", Err: loader.ErrNoDevice} }, api.StatePartly, "there is no interface eth1 here", true, true, false, "not_attached"},
	{"a namesake with the same index", func(r *Reading) { r.Interfaces = r.Interfaces[:1]; bare(r, 0) }, api.StateUnprotected, "nothing is attached, everything passes", false, false, false, "not_attached"},
	{"a foreign program", func(r *Reading) { foreign(r, 0); foreign(r, 1) }, api.StateUnknown, "another program (id 9) is attached to eth0", false, false, true, "foreign_program"},
	{"a foreign program on one", func(r *Reading) { foreign(r, 1) }, api.StatePartly, "another program (id 9) is attached to eth1", true, true, false, "foreign_program"},
	{"a foreign program, bypass", func(r *Reading) { foreign(r, 0); foreign(r, 1); r.Bypass = loader.DeadlineForever }, api.StateUnknown, "another program", false, false, true, "foreign_program"},
	{"a foreign program on one, bypass", func(r *Reading) { foreign(r, 1); r.Bypass = loader.DeadlineForever }, api.StateBypassed,
		"everything passes on eth0; another program (id 9) is attached to eth1, and it cannot be read from here", false, false, true, "foreign_program"},
	{"two programs on one device", func(r *Reading) {
		d := &r.Interfaces[1].Device
		d.Programs = append(d.Programs, loader.DeviceProgram{ID: 9, Mode: "generic"})
	}, api.StatePartly, "another program (id 9) is attached to eth1", true, true, false, "foreign_program"},
	{"netlink that does not answer", func(r *Reading) {
		for i := range r.Interfaces {
			r.Interfaces[i].Err = unix.ENOBUFS
		}
	}, api.StateUnknown, "netlink does not say", false, false, true, "kernel_read"},
	{"unreadable wiring", unread(PartWiring), api.StateUnknown, "the wiring cannot be read", false, false, true, "kernel_read"},
	{"unreadable generations", unread(PartGenerations), api.StateUnknown, "the generations cannot be read", false, false, true, "kernel_read"},
	{"unreadable host", unread(PartHost), api.StateUnknown, "the host file in the kernel cannot be read", false, false, true, "kernel_read"},
	{"unreadable links", unread(PartLinks), api.StateProtected, "blocked", true, true, false, "kernel_read"},
	{"unreadable root", func(r *Reading) { r.Root = 0; unread(PartRoot)(r) }, api.StateUnknown, "the pinned one cannot be read to compare", false, false, true, "kernel_read"},
}

// TestA5OneMeaning: every state of the kernel has one meaning, whoever reads it, and no sentence says more than was read.
func TestA5OneMeaning(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			r := serving()
			m.change(r)
			v := Judge(*r)
			if v.State != m.state || !strings.Contains(v.Says, m.says) {
				t.Errorf("state %s, want %s; it says %q, want %q in it", v.State, m.state, v.Says, m.says)
			}
			if m.problem != "" && !slices.ContainsFunc(v.Problems, func(p api.Problem) bool { return p.Code == m.problem && p.Fix != "" }) {
				t.Errorf("no problem %s with a fix in %+v", m.problem, v.Problems)
			}
			if m.problem == "" && len(v.Problems) > 0 {
				t.Errorf("problems: %+v", v.Problems)
			}
			if known := !m.unknown; known && (v.Idle == "") != m.bans {
				t.Errorf("idle is %q, and a ban blocks: %t", v.Idle, m.bans)
			}
			if known := !m.unknown; known && (v.BundleIdle == "") != m.rules {
				t.Errorf("bundle idle is %q, and rules block: %t", v.BundleIdle, m.rules)
			}
			trueWords(t, m.rules, m.bans, m.unknown, v)
		})
	}
}

// trueWords derives from the state what may be said.
func trueWords(t *testing.T, rules, bans, unknown bool, v Verdict) {
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
		if strings.Contains(line, "everything passes") && !strings.Contains(line, "everything passes there") && !strings.Contains(line, " on eth0;") &&
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
	r := Read(k, nobody{}, []string{"eth0"})
	for _, p := range []Part{PartGenerations, PartHost, PartLinks, PartRoot, PartWiring} {
		if r.Unread[p] == nil {
			t.Errorf("%s counts as read", p)
		}
	}
	if v := Judge(r); v.State != api.StateUnknown {
		t.Errorf("state %s: %s", v.State, v.Says)
	}
}

type failing struct {
	Kernel
	err error
}

func (f *failing) Control() loader.Control                       { return loader.Control{} }
func (f *failing) Bypass() loader.Deadline                       { return 0 }
func (f *failing) Heartbeat() time.Duration                      { return 0 }
func (f *failing) Lease() loader.Deadline                        { return 0 }
func (f *failing) Tripped() uint32                               { return 0 }
func (f *failing) Generations() ([]loader.GenerationInfo, error) { return nil, f.err }
func (f *failing) Host() (*loader.HostInfo, error)               { return nil, f.err }
func (f *failing) Attachments() ([]loader.Attachment, error)     { return nil, f.err }
func (f *failing) RootID() (uint32, error)                       { return 0, f.err }
func (f *failing) VerifyWiring() ([]loader.Drift, error)         { return nil, f.err }

type nobody struct{}

func (nobody) DeviceByName(string) (loader.Device, error) {
	return loader.Device{}, fmt.Errorf("netlink: %w", unix.EPERM)
}
func (nobody) DeviceByIndex(int) (loader.Device, error) {
	return loader.Device{}, fmt.Errorf("netlink: %w", unix.EPERM)
}
