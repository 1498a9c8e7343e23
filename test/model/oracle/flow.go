// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// segment decides a TCP segment to a service.
func (m *Model) segment(p *packet, s *config.Service) Result {
	if p.fragment && m.World.cuts(p, s) {
		return m.alone(p, s, p.flaw, p.flaw)
	}
	f := m.flows[p.key()]
	if p.depth == byPorts { // it may be a SYN as well as data: what is certain is where it comes from
		if f != nil {
			f.sawSYN = true
		}
		return m.alone(p, s, p.flaw, p.flaw)
	}
	switch {
	case p.isSYN():
		return m.syn(p, s, f)
	case f != nil && !m.takenOver(p, s, f):
		return m.known(p, s, f)
	case p.payloadLen == 0:
		return m.alone(p, s, p.flaw, handshake)
	}
	return m.payload(p, s)
}

// syn decides a SYN by its own packet, and remembers what it said for its first payload.
func (m *Model) syn(p *packet, s *config.Service, f *flow) Result {
	fp, ok := p.fingerprint()
	scored := p.flaw
	if !ok && scored == none {
		scored = synOptions
	}
	if f != nil {
		f.sawSYN = true
	}
	j := m.World.judge(facts{packet: p, service: s.Name, fingerprint: fp, hasFingerprint: ok, reason: scored,
		alone: p.payloadLen > 0}) // Fast Open
	if !j.drops() {
		m.syns[m.World.synPlace(p.key())] = synRecord{p.key(), p.seq, fp, ok}
	}
	return m.counts(j.result(noMatch), p, p.seq)
}

// recall returns the SYN that a segment continues: the same connection, and the number after the SYN's.
func (m *Model) recall(p *packet) (synRecord, bool) {
	r, ok := m.syns[m.World.synPlace(p.key())]
	return r, ok && r.key == p.key() && p.seq == r.isn+1
}

// takenOver says whether a segment belongs to a new connection on the addresses and ports of an old one. Where a socket
// should know and none does, data may wait behind a SYN cookie.
func (m *Model) takenOver(p *packet, s *config.Service, f *flow) bool {
	if !f.sawSYN {
		return false
	}
	if s.Local && p.payloadLen > 0 {
		return true
	}
	r, ok := m.recall(p)
	return ok && r.isn != f.isn
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
	f := facts{packet: p, service: s.Name, reason: scored, payload: true}
	if joined {
		f.fingerprint, f.hasFingerprint = r.fingerprint, r.hasFingerprint
	}
	if joined && !s.Local {
		f.charge = m.chargeOnce(f, s)
	}
	j := m.World.judge(f)
	if s.Local || !joined {
		return m.counts(j.result(unconfirmed), p, p.seq-1)
	}
	// No socket vouches for anything in a program run, but this is a lab: it believes what the SYN of a service says whose
	// sockets are elsewhere. A block would be a stranger's to make, and a ban has an end of its own.
	if !j.drops() && j.reason != ban && j.reason != onTrial {
		m.flows[p.key()] = &flow{isn: r.isn}
	}
	result := m.counts(j.result(noMatch), p, r.isn)
	if result.Outcome == pass {
		result.Decides = DecidesConnection
		if j.tagged {
			result.Outcome = bpf.OutcomeTag
		}
	}
	return result
}

// known passes a segment of a connection whose first payload passed, whatever the bundle says by now. Bans cut any.
func (m *Model) known(p *packet, s *config.Service, f *flow) Result {
	if m.World.isBanned(p) {
		r := m.World.judge(facts{packet: p, service: s.Name}).result(noMatch)
		if r.Outcome != pass && !f.cut {
			f.cut = true
			r = m.counts(r, p, f.isn)
		}
		return r
	}
	return Result{Reason: knownFlow}
}
