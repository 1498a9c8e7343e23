// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// segment decides a TCP segment to a service.
func (m *Model) segment(p *packet, s *config.Service) Result {
	f := m.flowOf(p, s)
	if p.depth == byPorts {
		// It may be the SYN of a new connection as well as data of the old one: only a block of the old one counts.
		if f != nil && f.blocked {
			return m.known(p, s, f)
		}
		return m.alone(p, s, p.flaw, p.flaw)
	}
	switch {
	case p.isSYN():
		return m.syn(p, s, f)
	case f != nil && !m.takenOver(p, f):
		return m.known(p, s, f)
	case p.payloadLen == 0:
		return m.alone(p, s, p.flaw, handshake)
	}
	return m.payload(p, s)
}

// flowOf returns the connection of a segment. No socket vouches for anything in a program run, so only services whose
// sockets are elsewhere have any.
func (m *Model) flowOf(p *packet, s *config.Service) *flow {
	if s.Local {
		return nil
	}
	return m.flows[p.key()]
}

// syn decides a SYN by its own packet, and remembers what it said for its first payload.
func (m *Model) syn(p *packet, s *config.Service, f *flow) Result {
	fp, ok := p.fingerprint()
	scored := p.flaw
	if !ok && scored == none {
		scored = synOptions
	}
	j := m.World.judge(facts{p, s.Name, fp, ok, scored})
	if !j.drops() {
		m.syns[m.World.synPlace(p.key())] = synRecord{p.key(), p.seq, fp, ok}
		if f != nil {
			f.sawSYN = true
		}
	}
	return j.result(noMatch)
}

// recall returns the SYN that a segment continues: the same connection, and the number after the SYN's.
func (m *Model) recall(p *packet) (synRecord, bool) {
	r, ok := m.syns[m.World.synPlace(p.key())]
	return r, ok && r.key == p.key() && p.seq == r.isn+1
}

// takenOver says whether a segment belongs to a new connection on the addresses and ports of an old one.
func (m *Model) takenOver(p *packet, f *flow) bool {
	if !f.sawSYN {
		return false
	}
	_, ok := m.recall(p)
	return ok && p.seq != f.isn+1
}

// payload judges data that no connection answers for. What joins its SYN is scored with it. Without one, what begins
// with a ClientHello is a first payload whose SYN we do not know, and all else is midstream.
func (m *Model) payload(p *packet, s *config.Service) Result {
	r, joined := m.recall(p)
	scored := p.flaw
	if !joined && !p.beginsHello() {
		if scored == none {
			scored = midstream
		}
		return m.alone(p, s, scored, midstream)
	}
	if s.Local && scored == none {
		scored = unconfirmed
	}
	f := facts{packet: p, service: s.Name, reason: scored}
	if joined {
		f.fingerprint, f.hasFingerprint = r.fingerprint, r.hasFingerprint
	}
	j := m.World.judge(f)
	if s.Local || !joined {
		return j.result(unconfirmed)
	}
	if j.reason != ban { // a ban has an end of its own and applies to every packet: there is nothing to remember
		m.keep(p, f, j)
	}
	return j.result(noMatch)
}

func (m *Model) keep(p *packet, f facts, j judgement) {
	kept := &flow{isn: p.seq - 1, fingerprint: f.fingerprint, hasFingerprint: f.hasFingerprint}
	kept.blocked = j.drops()
	m.stamp(kept, j)
	m.flows[p.key()] = kept
}

func (m *Model) stamp(f *flow, j judgement) {
	f.until, f.slot, f.epoch, f.number = j.until, j.slot(), m.World.Epoch, 0
	if j.generation != nil {
		f.number = j.generation.Number
	}
}

// known applies the verdict of a connection. Bans cut any; a stored block holds while who made it may enforce now and
// its rule has not ended; else the connection is judged again, which may only relax it.
func (m *Model) known(p *packet, s *config.Service, f *flow) Result {
	w := &m.World
	if w.isBanned(p) {
		return w.judge(facts{packet: p, service: s.Name}).result(noMatch)
	}
	if !f.blocked {
		return Result{Reason: knownFlow}
	}
	ended := !f.until.IsZero() && !w.Now.Before(f.until)
	if f.epoch == w.Epoch && !ended && w.mayEnforce(f.slot, f.number) {
		if w.isAgentLost() {
			return Result{Slot: f.slot, Reason: agentLost}
		}
		return Result{Slot: f.slot, Reason: knownFlow, Outcome: bpf.DataplaneOutcomeOUTCOME_DROP}
	}
	j := w.judge(facts{packet: p, service: s.Name, fingerprint: f.fingerprint, hasFingerprint: f.hasFingerprint})
	switch {
	case j.drops():
		m.stamp(f, j)
	case j.reason != agentLost:
		f.blocked = false
	}
	return j.result(noMatch)
}
