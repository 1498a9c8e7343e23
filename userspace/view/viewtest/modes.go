// SPDX-License-Identifier: Apache-2.0

// Package viewtest has the states of a host in which every sentence must be true, for the tests of whoever prints one.
package viewtest

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

const ours = 71

// Serving is a host that protects: two interfaces, two services, one bundle that blocks from a score of 80.
func Serving() *view.Reading {
	on := func(name string, index int) view.Interface {
		return view.Interface{Name: name,
			Device: loader.Device{Name: name, Index: index, Programs: []loader.DeviceProgram{{ID: ours, Mode: "native"}}}}
	}
	web := compile.ServiceInfo{ID: 1, Name: "web", Kind: "http", Tag: 11, Confirm: config.ConfirmAuto}
	shop := compile.ServiceInfo{ID: 2, Name: "shop", Kind: "http", Tag: 22, Confirm: config.ConfirmAuto}
	blocks := compile.Blocking{From: map[uint32]uint8{web.Tag: 80, shop.Tag: 80}, Reach: 100, Strong: true}
	return &view.Reading{
		Control:     loader.Control{Mode: bpf.ModeEnforce, Stable: 1, Host: 1},
		Heartbeat:   time.Second,
		Generations: []loader.GenerationInfo{{Slot: 1, Number: 7, Blocking: blocks}, {Slot: 2, Number: 8, Blocking: blocks}},
		Host:        &compile.HostInfo{AgentTimeout: 15 * time.Minute, Services: []compile.ServiceInfo{web, shop}},
		Services:    map[uint8]loader.Deadline{}, Root: ours, Unread: map[view.Part]error{}, Attach: map[string]api.Problem{},
		Interfaces: []view.Interface{on("eth0", 2), on("eth1", 3)},
		Links: []loader.Attachment{{Interface: "eth0", Index: 2, ProgramID: ours, State: loader.StateAttached, Here: true},
			{Interface: "eth1", Index: 3, ProgramID: ours, State: loader.StateAttached, Here: true}},
	}
}

func drift(where, want, got string) []compile.Drift {
	return []compile.Drift{{Where: where, Want: want, Got: got}}
}

var emptied = drift(compile.WherePrograms, "the dataplane", "nothing: what it would see passes")

// blocking replaces what the stable generation can block.
func blocking(b compile.Blocking) func(*view.Reading) {
	return func(r *view.Reading) { r.Generations[0].Blocking = b }
}

func bare(r *view.Reading, n int)    { r.Interfaces[n].Device.Programs = nil }
func foreign(r *view.Reading, n int) { r.Interfaces[n].Device.Programs[0].ID = 9 }
func unread(p view.Part) func(*view.Reading) {
	return func(r *view.Reading) { r.Unread[p] = unix.ENOMEM }
}
func control(f func(*loader.Control)) func(*view.Reading) {
	return func(r *view.Reading) { f(&r.Control) }
}

// expired is a bundle whose rules have.
var expired = compile.Blocking{From: map[uint32]uint8{11: 80, 22: 80}, Strong: true, Expired: 4}

// fragments has the same, and drops fragments to the service web.
func fragments(b compile.Blocking) func(*view.Reading) {
	b.Fragments = map[uint32]bool{11: true}
	return blocking(b)
}

// canary has generation 8 decide for one source in twenty, beside a stable one or none.
func canary(stable uint32, lease loader.Deadline) func(*view.Reading) {
	return func(r *view.Reading) {
		r.Control.Candidate, r.Control.Canary, r.Control.Pair, r.Lease = 2, 50, true, lease
		if stable == 0 {
			r.Control.Stable = 0
		}
	}
}

// CanaryWords says what is untrue of a canary in a text: on a host without a stable bundle it blocks among its sources,
// as long as its lease lives, and then it is not true that only bans block.
func CanaryWords(r *view.Reading, m Mode, text string) string {
	c := r.Control
	blocks := m.Bans && c.Stable == bpf.SlotEmpty && c.Candidate != bpf.SlotEmpty && c.Canary > 0 && c.Canary < 1000 &&
		r.Lease.Active() && !r.Tripped.Has(8)
	said := strings.Contains(text, "among 5% of the sources (its canary)")
	switch {
	case said && !blocks:
		return "no canary blocks, and it says: " + text
	case blocks && !said && strings.Contains(text, "only bans block"):
		return "a canary blocks among its sources, and it says: " + text
	}
	return ""
}

// unvouched is a tls service of which most first payloads had nobody to vouch.
func unvouched(asks config.Confirm, untracked error) func(*view.Reading) {
	return func(r *view.Reading) {
		r.Host.Services[0].Kind, r.Host.Services[0].Confirm, r.Untracked = "tls", asks, untracked
		r.Counted = view.Counted{First: map[uint8]view.First{1: {Vouched: 40, Unvouched: 60}}, Frames: view.Frames{All: 900}}
		r.CountedWhen = "in the last 10m"
	}
}

// malformed is a host that could not read so many frames of all.
func malformed(all, unread uint64) func(*view.Reading) {
	return func(r *view.Reading) {
		r.Counted, r.CountedWhen = view.Counted{Frames: view.Frames{All: all, Malformed: unread}}, "in the last 10m"
	}
}

// FragmentWords says what is untrue of fragments in a text. Where a ban of a source to the service web blocks, so does
// the policy that drops fragments to it.
func FragmentWords(r *view.Reading, m Mode, text string) string {
	dropped := m.Bans && r.Generations != nil && r.Generations[0].Blocking.Fragments[11] && !r.Services[1].Active()
	only := strings.Contains(text, "only bans block")
	switch said := strings.Contains(text, "and IP fragments to web are dropped"); {
	case said && !dropped:
		return "fragments pass, and it says: " + text
	case only && !said && dropped:
		return "fragments are dropped, and it says: " + text
	}
	return ""
}

// Mode is a state of a host.
type Mode struct {
	Name   string
	Change func(*view.Reading) // from Serving
	State  string              // of api.Status
	Says   string              // a part of the sentence
	// Bans and Rules say whether a packet of a banned source, or of one that the rules find, is dropped on the first
	// interface. Unknown says that nobody can read that.
	Bans, Rules, Unknown bool
	Problem              string // the code of one that is told; "" for none at all
}

// Modes are the states.
var Modes = slices.Concat(states, limited)

var states = []Mode{
	{"enforce", func(*view.Reading) {}, api.StateProtected, "what the rules find is blocked", true, true, false, ""},
	{"a service that nobody vouches for", unvouched(config.ConfirmAuto, nil), api.StateProtected, "blocked", true, true,
		false, "unconfirmed"},
	{"a service that nobody vouches for, without connection tracking",
		unvouched(config.ConfirmAuto, loader.ErrNoConntrack),
		api.StateProtected, "blocked", true, true, false, "unconfirmed"},
	{"a service for which only sockets may vouch", unvouched(config.ConfirmSocket, nil), api.StateProtected, "blocked",
		true, true, false, "unconfirmed"},
	{"a service whose answers leave elsewhere", unvouched(config.ConfirmEgress, nil), api.StateProtected, "blocked", true,
		true, false, "unconfirmed"},
	{"a service that nobody vouches for, observe", func(r *view.Reading) {
		unvouched(config.ConfirmAuto, nil)(r)
		r.Control.Mode = bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, "unconfirmed"},
	{"a service that few vouch for", func(r *view.Reading) {
		r.Host.Services[0].Kind = "tls"
		r.Counted.First = map[uint8]view.First{1: {Vouched: 10, Unvouched: 49}, 2: {Unvouched: 500}}
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"connection tracking is off", func(r *view.Reading) { r.Untracked = loader.ErrNoConntrack }, api.StateProtected,
		"blocked", true, true, false, ""},
	{"malformed frames", malformed(90_000, 91), api.StateProtected, "blocked", true, true, false, ""},
	{"more malformed frames than a trickle", malformed(90_000, 101), api.StateProtected, "blocked", true,
		true, false, "malformed"},
	{"malformed frames, bypass", func(r *view.Reading) {
		malformed(900, 800)(r)
		r.Bypass = loader.DeadlineForever
	}, api.StateBypassed, "everything passes", false, false, false, "malformed"},
	{"malformed frames, no agent for long", func(r *view.Reading) {
		malformed(900, 800)(r)
		r.Agent, r.Heartbeat = view.Absent, time.Hour
	}, api.StateUnprotected, "everything passes", false, false, false, "malformed"},
	{"an interface that no answer leaves", func(r *view.Reading) {
		r.Unanswered = map[int]bool{2: true}
		r.Generations[0].Blocking.Resets = map[uint32]bool{11: true}
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"observe", control(func(c *loader.Control) { c.Mode = bpf.ModeObserve }), api.StateObserving,
		"everything passes (mode observe)", false, false, false, ""},
	{"bypass", func(r *view.Reading) { r.Bypass = loader.DeadlineForever }, api.StateBypassed,
		"everything passes, until `spillway bypass off`", false, false, false, "bypass"},
	{"bypass for a while", func(r *view.Reading) { r.Bypass = loader.In(30 * time.Minute) }, api.StateBypassed,
		"everything passes for 30m", false, false, false, "bypass"},
	{"bypass that is over", func(r *view.Reading) { r.Bypass = 1 }, api.StateProtected, "blocked", true, true, false, ""},
	{"bypass of a service", func(r *view.Reading) { r.Services[2] = loader.DeadlineForever }, api.StatePartly,
		"service shop passes", true, true, false, ""},
	{"bypass of every service", func(r *view.Reading) {
		r.Services[1], r.Services[2] = loader.DeadlineForever, loader.DeadlineForever
	},
		api.StateUnprotected, "every service is bypassed, everything passes", false, false, false, "bypass"},
	{"bypass of every service that the bundle could block for", func(r *view.Reading) {
		blocking(compile.Blocking{From: map[uint32]uint8{11: 80, 22: 0}, Reach: 100, Strong: true})(r)
		r.Services[1] = loader.DeadlineForever
	}, api.StateIdle,
		"every service that it could block for is bypassed; only bans block, and not where a service is bypassed", true,
		false, false, "bypass"},
	{"bypass of every service, observe", func(r *view.Reading) {
		r.Services[1], r.Services[2], r.Control.Mode = loader.DeadlineForever, loader.DeadlineForever, bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, ""},
	{"no bundle", control(func(c *loader.Control) { c.Stable = 0 }), api.StateIdle,
		"no bundle is in force; only bans block", true, false, false, "no_generation"},
	{"no bundle, observe", control(func(c *loader.Control) { c.Stable, c.Mode = 0, bpf.ModeObserve }), api.StateObserving,
		"everything passes", false, false, false, "no_generation"},
	{"no bundle, bypass", func(r *view.Reading) { r.Control.Stable, r.Bypass = 0, loader.DeadlineForever },
		api.StateBypassed, "everything passes", false, false, false, "bypass"},
	{"a candidate decides", func(r *view.Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Canary, r.Lease = 0, 2, 1000, loader.In(time.Hour)
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"a candidate whose lease ended", func(r *view.Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Canary, r.Lease = 0, 2, 1000, 1
	},
		api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"a candidate that tripped", func(r *view.Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Canary = 0, 2, 1000
		r.Lease, r.Tripped.Ended = loader.In(time.Hour), 8
	}, api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"a candidate waits", func(r *view.Reading) {
		r.Control.Candidate, r.Control.Canary, r.Lease = 2, 1000, loader.In(time.Hour)
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"a shadow", func(r *view.Reading) {
		r.Control.Candidate, r.Control.Shadow, r.Control.Pair = 2, true, true
	}, api.StateProtected, "blocked", true, true, false, ""},
	{"a shadow on an empty host", func(r *view.Reading) {
		r.Control.Stable, r.Control.Candidate, r.Control.Shadow, r.Lease = 0, 2, true, loader.In(time.Hour)
	}, api.StateIdle, "no bundle is in force; only bans block.", true, false, false, "no_generation"},
	{"a canary", canary(7, loader.In(time.Hour)), api.StateProtected, "blocked", true, true, false, ""},
	{"a canary whose lease ended", canary(7, 1), api.StateProtected, "blocked", true, true, false, ""},
	{"a canary on an empty host", canary(0, loader.In(time.Hour)), api.StateIdle,
		"only bans block, and generation 8 among 5% of the sources (its canary).", true, false, false, "no_generation"},
	{"a canary on an empty host, whose lease ended", canary(0, 1), api.StateIdle,
		"no bundle is in force; only bans block.", true, false, false, "no_generation"},
	{"a canary on an empty host, tripped", func(r *view.Reading) {
		canary(0, loader.In(time.Hour))(r)
		r.Tripped.Ended = 8
	}, api.StateIdle, "no bundle is in force; only bans block.", true, false, false, "no_generation"},
	{"a canary on an empty host, observe", func(r *view.Reading) {
		canary(0, loader.In(time.Hour))(r)
		r.Control.Mode = bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, "no_generation"},
	{"a canary, bypass", func(r *view.Reading) {
		canary(7, loader.In(time.Hour))(r)
		r.Bypass = loader.DeadlineForever
	}, api.StateBypassed, "everything passes", false, false, false, "bypass"},
	{"a bake whose budget is used up", func(r *view.Reading) {
		r.Control.Previous, r.Control.Pair, r.Control.Budget, r.Tripped = 2, true, true, spent(7)
	}, api.StateProtected, "blocked", true, true, false, "budget"},
	{"a first bake whose budget is used up", func(r *view.Reading) {
		r.Control.Pair, r.Control.Budget, r.Tripped = true, true, spent(7)
	}, api.StateIdle, "no bundle is in force; only bans block.", true, false, false, "budget"},
	{"a policy that never blocks",
		blocking(compile.Blocking{From: map[uint32]uint8{11: 0, 22: 0}, Reach: 100, Strong: true}),
		api.StateIdle, "neither limit, drop nor reset", true, false, false, "never_blocks"},
	{"a policy that no score reaches",
		blocking(compile.Blocking{From: map[uint32]uint8{11: 80, 22: 90}, Reach: 60, Strong: true}),
		api.StateIdle, "add up to 60, and its policy blocks from 80", true, false, false, "never_blocks"},
	{"reasons alone", blocking(compile.Blocking{From: map[uint32]uint8{11: 80, 22: 90}, Reach: 100}), api.StateIdle,
		"none of its reasons does alone here", true, false, false, "never_blocks"},
	{"an expired bundle", blocking(expired), api.StateIdle, "have expired", true, false, false, "expired"},
	{"an expired bundle, observe", func(r *view.Reading) {
		blocking(expired)(r)
		r.Control.Mode = bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, "expired"},
	{"an expired bundle that drops fragments", fragments(expired), api.StateIdle,
		"have expired; only bans block, and IP fragments to web are dropped", true, false, false, "expired"},
	{"an expired bundle that drops fragments, observe", func(r *view.Reading) {
		fragments(expired)(r)
		r.Control.Mode = bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, "expired"},
	{"an expired bundle that drops fragments of a service that is bypassed", func(r *view.Reading) {
		fragments(expired)(r)
		r.Services[1] = loader.DeadlineForever
	}, api.StateIdle, "have expired; only bans block, and not where a service is bypassed.", true,
		false, false, "expired"},
	{"an expired bundle that drops fragments, and no agent for long", func(r *view.Reading) {
		fragments(expired)(r)
		r.Agent, r.Heartbeat = view.Absent, time.Hour
	}, api.StateUnprotected, "everything passes", false, false, false, "agent_lost"},
	{"fragments, and a policy that no score reaches",
		fragments(compile.Blocking{From: map[uint32]uint8{11: 80, 22: 90}, Reach: 60, Strong: true}),
		api.StateIdle, "blocks nobody by its rules: its rules add up to 60", true, false, false, "never_blocks"},
	{"fragments, and a policy that blocks",
		fragments(compile.Blocking{From: map[uint32]uint8{11: 80, 22: 80}, Reach: 100, Strong: true}),
		api.StateProtected, "blocked", true, true, false, ""},
	{"a service that the bundle does not know",
		blocking(compile.Blocking{From: map[uint32]uint8{11: 80}, Reach: 100, Strong: true}),
		api.StatePartly, "service shop is new to the bundle in force, which lets it pass", true, true, false, ""},
	{"no agent", func(r *view.Reading) { r.Agent, r.Heartbeat = view.Absent, 5*time.Minute }, api.StateProtected,
		"blocked", true, true, false, "no_agent"},
	{"no agent, observe", func(r *view.Reading) {
		r.Agent, r.Heartbeat, r.Control.Mode = view.Absent, 5*time.Minute, bpf.ModeObserve
	}, api.StateObserving, "everything passes", false, false, false, "no_agent"},
	{"an agent that was killed a moment ago", func(r *view.Reading) { r.Agent = view.Absent }, api.StateProtected,
		"blocked", true, true, false, "no_agent"},
	{"an agent on another socket", func(r *view.Reading) { r.Agent, r.AgentPID = view.Elsewhere, 812 }, api.StateProtected,
		"blocked", true, true, false, "agent_elsewhere"},
	{"a hung agent", func(r *view.Reading) { r.Agent, r.AgentPID, r.Heartbeat = view.Hung, 812, time.Minute },
		api.StateProtected, "blocked", true, true, false, "agent_hung"},
	{"agent lost", func(r *view.Reading) { r.Agent, r.Heartbeat = view.Absent, time.Hour }, api.StateUnprotected,
		"longer than guards.agent_timeout, everything passes", false, false, false, "agent_lost"},
	{"agent hung and lost", func(r *view.Reading) { r.Agent, r.AgentPID, r.Heartbeat = view.Hung, 812, time.Hour },
		api.StateUnprotected, "everything passes", false, false, false, "agent_lost"},
	{"no agent, and it may stay away", func(r *view.Reading) {
		r.Agent, r.Heartbeat, r.Host.AgentTimeout = view.Absent, time.Hour, -1
	}, api.StateProtected, "blocked", true, true, false, "no_agent"},
	{"an emptied PROG_ARRAY", func(r *view.Reading) { r.Wiring, r.Agent = emptied, view.Absent }, api.StateUnprotected,
		"no dataplane stands behind the root program, everything passes", false, false, false, "no_dataplane"},
	{"an emptied PROG_ARRAY, bypass", func(r *view.Reading) { r.Wiring, r.Bypass = emptied, loader.DeadlineForever },
		api.StateBypassed, "everything passes", false, false, false, "bypass"},
	{"no payload program", func(r *view.Reading) {
		r.Wiring = drift(compile.WherePrograms, "the payload program, 12", "nothing: what it would see passes")
	},
		api.StatePartly, "what only a first payload tells passes", true, true, false, "wiring"},
	{"another dataplane", func(r *view.Reading) {
		r.Wiring = drift(compile.WherePrograms, "the dataplane, program 8", "program 9")
	}, api.StateUnknown, "not what is pinned", false, false, true, "wiring"},
	{"pins that were removed", func(r *view.Reading) { r.Wiring = drift(compile.WherePins, "all", "some") },
		api.StateProtected, "blocked", true, true, false, "wiring"},
	{"an empty slot", func(r *view.Reading) {
		r.Wiring, r.Generations = drift("stable, slot 1", "a generation", "nothing: it passes"), nil
	}, api.StateIdle, "no bundle is in force", true, false, false, "no_generation"},
	{"no host file", func(r *view.Reading) { r.Control.Host, r.Host = 0, nil }, api.StateUnprotected,
		"no host file is published, everything passes", false, false, false, "no_host"},
	{"an interface that is bare", func(r *view.Reading) { bare(r, 1) }, api.StatePartly, "nothing is attached to eth1",
		true, true, false, "not_attached"},
	{"all interfaces bare", func(r *view.Reading) { bare(r, 0); bare(r, 1) }, api.StateUnprotected,
		"nothing is attached, everything passes", false, false, false, "not_attached"},
	{"all bare, bypass", func(r *view.Reading) { bare(r, 0); bare(r, 1); r.Bypass = loader.DeadlineForever },
		api.StateUnprotected, "everything passes", false, false, false, "bypass"},
	{"a lost interface", func(r *view.Reading) { r.Interfaces[1] = view.Interface{Name: "eth1", Err: loader.ErrNoDevice} },
		api.StatePartly, "there is no interface eth1 here", true, true, false, "not_attached"},
	{"a namesake with the same index", func(r *view.Reading) { r.Interfaces = r.Interfaces[:1]; bare(r, 0) },
		api.StateUnprotected, "nothing is attached, everything passes", false, false, false, "not_attached"},
	{"a layer-3 device", func(r *view.Reading) {
		r.Interfaces[1].Device.Type, r.Interfaces[1].Device.Kind = unix.ARPHRD_NONE, "tun"
	},
		api.StatePartly, "eth1 is a layer-3 device (TUN)", true, true, false, "not_attached"},
	{"a foreign program", func(r *view.Reading) { foreign(r, 0); foreign(r, 1) }, api.StateUnknown,
		"another program (id 9) is attached to eth0", false, false, true, "foreign_program"},
	{"a foreign program on one", func(r *view.Reading) { foreign(r, 1) }, api.StatePartly,
		"another program (id 9) is attached to eth1", true, true, false, "foreign_program"},
	{"a foreign program, bypass", func(r *view.Reading) {
		foreign(r, 0)
		foreign(r, 1)
		r.Bypass = loader.DeadlineForever
	}, api.StateUnknown, "another program", false, false, true, "foreign_program"},
	{"a foreign program on one, bypass", func(r *view.Reading) { foreign(r, 1); r.Bypass = loader.DeadlineForever },
		api.StateBypassed,
		"everything passes on eth0; another program (id 9) is attached to eth1, and it cannot be read from here", false,
		false, true, "foreign_program"},
	{"two programs on one device", func(r *view.Reading) {
		d := &r.Interfaces[1].Device
		d.Programs = append(d.Programs, loader.DeviceProgram{ID: 9, Mode: "generic"})
	}, api.StatePartly, "another program (id 9) is attached to eth1", true, true, false, "foreign_program"},
	{"netlink that does not answer", func(r *view.Reading) {
		for i := range r.Interfaces {
			r.Interfaces[i].Err = unix.ENOBUFS
		}
	}, api.StateUnknown, "netlink does not say", false, false, true, "kernel_read"},
	{"unreadable wiring", unread(view.PartWiring), api.StateUnknown, "the wiring cannot be read", false,
		false, true, "kernel_read"},
	{"unreadable generations", unread(view.PartGenerations), api.StateUnknown, "the generations cannot be read", false,
		false, true, "kernel_read"},
	{"unreadable host", unread(view.PartHost), api.StateUnknown, "the host file in the kernel cannot be read", false,
		false, true, "kernel_read"},
	{"unreadable links", unread(view.PartLinks), api.StateProtected, "blocked", true, true, false, "kernel_read"},
	{"unreadable root", func(r *view.Reading) { r.Root = 0; unread(view.PartRoot)(r) }, api.StateUnknown,
		"the pinned one cannot be read to compare", false, false, true, "kernel_read"},
}

// spent is a generation that used up its budget.
func spent(number uint32) loader.Trips {
	return loader.Trips{Spent: [loader.Lanes][2]uint32{loader.LaneMain: {number}}}
}
