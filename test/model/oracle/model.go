// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Result says which counter a packet moves.
type Result struct {
	Service string // "": none
	Slot    uint8
	Reason  bpf.Reason
	Outcome bpf.Outcome
	// Uncounted: the kill switch let it pass before anything was looked at.
	Uncounted bool
	// Decides says what else is counted.
	Decides Decision
}

// Decision is what a packet decided: nothing, the connection that it belongs to, or itself alone, as blocked.
type Decision uint8

// What a packet decides.
const (
	DecidesNothing Decision = iota
	DecidesConnection
	DecidesItself
)

// Drops reports whether the packet is dropped.
func (r Result) Drops() bool { return r.Outcome == bpf.OutcomeDrop || r.Outcome == bpf.OutcomeLimit }

func (r Result) String() string {
	if r.Uncounted {
		return "pass, uncounted"
	}
	s := bpf.OutcomeName(r.Outcome) + " " + bpf.ReasonName(r.Reason)
	if r.Service != "" {
		s += " of " + r.Service
	}
	if r.Slot != bpf.SlotEmpty {
		s += " by slot " + string('0'+rune(r.Slot))
	}
	return s
}

// key is a connection: both addresses, as in packet.wire, and both ports.
type key struct {
	addresses            [32]byte
	sourcePort, destPort uint16
}

func (p *packet) key() key { return key{p.wire, p.sourcePort, p.destPort} }

// synRecord is what a SYN said.
type synRecord struct {
	key            key
	isn            uint32
	fingerprint    string
	hasFingerprint bool
}

// flow is a connection whose first payload was judged, and passed.
type flow struct {
	isn    uint32
	sawSYN bool // later: another connection may have taken over
	cut    bool // by a ban, which was counted
}

// Model decides frames one after another. World may be changed between them.
type Model struct {
	World World
	syns  map[int]synRecord
	flows map[key]*flow
	// recent are blocked connections, each in its place until another takes it.
	recent map[uint64]uint64
	unread map[uint32]uint32  // packets that ended a sight, by place
	limits map[account]uint64 // when the next connection comes by its rate, in units
}

// NewModel returns a model that remembers nothing.
func NewModel(w World) *Model {
	return &Model{World: w, syns: map[int]synRecord{}, flows: map[key]*flow{}, recent: map[uint64]uint64{},
		unread: map[uint32]uint32{}, limits: map[account]uint64{}}
}

// Decide says what must become of a frame.
func (m *Model) Decide(frame []byte) Result {
	if m.World.Bypass {
		return Result{Uncounted: true}
	}
	p, reason := parse(frame)
	if reason == tooDeep {
		m.unread[unreadEverywhere]++
	}
	if reason != none {
		return Result{Reason: reason}
	}
	s := m.World.service(p)
	if s == nil {
		return Result{Reason: notService}
	}
	if slices.Contains(m.World.BypassServices, s.Name) {
		return Result{Service: s.Name, Reason: serviceBypass}
	}
	var r Result
	switch {
	case p.depth == byAddresses:
		r = m.alone(p, s, p.flaw, p.flaw)
	case p.protocol == protocolUDP:
		r = m.alone(p, s, p.flaw, noMatch)
	default:
		r = m.segment(p, s)
	}
	r.Service = s.Name
	if p.protocol != protocolUDP {
		m.noteUnread(p, r, p.fragment && m.World.cuts(p, s))
	}
	return r
}

// Connections returns how many connections are remembered.
func (m *Model) Connections() int { return len(m.flows) }

// alone judges a packet by its source and what is the matter with it; label names it when nothing matches.
func (m *Model) alone(p *packet, s *config.Service, scored, label bpf.Reason) Result {
	j := m.World.judge(facts{packet: p, service: s.Name, reason: scored, cut: p.fragment && m.World.cuts(p, s)})
	r := j.result(label)
	if r.Outcome != pass {
		r.Decides = DecidesItself
	}
	return r
}

// counts counts a connection that is blocked, or would be: once, and what comes again only when its place was taken.
func (m *Model) counts(r Result, p *packet, isn uint32) Result {
	if r.Outcome == pass {
		return r
	}
	place, name := m.World.blockPlace(p.key(), isn)
	if m.recent[place] != name {
		m.recent[place] = name
		r.Decides = DecidesConnection
	}
	return r
}

func (j judgement) result(label bpf.Reason) Result {
	if j.reason == noMatch {
		j.reason = label
	}
	limited := map[bpf.Outcome]bpf.Outcome{bpf.OutcomeDrop: bpf.OutcomeLimit, bpf.OutcomeWouldDrop: bpf.OutcomeWouldLimit}
	if by, blocked := limited[j.outcome]; j.over && blocked {
		j.outcome = by
	}
	return Result{Slot: j.slot(), Reason: j.reason, Outcome: j.outcome}
}
