// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"math/rand/v2"
	"slices"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// schedule is what one client sends. It depends on seed and number alone.
type schedule struct {
	seed, number uint64
	world        circumstances
	stream       []byte
	steps        []segment
}

// circumstances are what else a schedule is played in.
type circumstances struct {
	IPv6    bool
	Stamps  bool // the connection has timestamps
	SACK    bool
	Cookies int  // net.ipv4.tcp_syncookies
	Late    bool // the application reads at the end only
	NoACK   bool // the handshake's ACK is lost
	Reuse   bool // the port was another connection's, whose hello was harmless
}

// request is what a client goes on with, behind its hello.
var request = []byte{23, 3, 3, 0, 3, 1, 2, 3}

const (
	mss     = 1380
	longest = 1428     // what an IPv6 packet of 1,500 bytes with timestamps has room for
	settled = "settle" // the client sends everything again, and goes on
)

func newSchedule(seed, number uint64) *schedule {
	r := rand.New(rand.NewPCG(seed, number))
	s := &schedule{seed: seed, number: number, world: circumstances{
		IPv6: r.IntN(2) == 0, Stamps: r.IntN(2) == 0, SACK: r.IntN(2) == 0, Late: r.IntN(3) == 0,
		NoACK: r.IntN(8) == 0, Reuse: r.IntN(8) == 0,
	}}
	s.world.Cookies = []int{1, 1, 1, 0, 2}[r.IntN(5)]
	shape, size := r.IntN(shapes), helloSize(r)
	mine, other := original, 1+r.IntN(twins-1)
	if r.IntN(5) < 2 {
		mine, other = other, mine
	}
	random := r.Uint64()
	records := recordsOf(r)
	s.stream = records(hello(shape, mine, size, random).Bytes())
	m := &maker{r: r, s: s, mine: s.stream, other: records(hello(shape, other, size, random).Bytes())}
	m.cut()
	m.order()
	for range []int{0, 1, 1, 2, 2, 3, 4, 6}[r.IntN(8)] {
		tricks[r.IntN(len(tricks))].play(m)
	}
	s.steps = m.steps
	s.settle(r)
	return s
}

func helloSize(r *rand.Rand) int {
	switch r.IntN(10) {
	case 0:
		return 6000 + r.IntN(10000)
	case 1, 2:
		return 2000 + r.IntN(3900)
	}
	return r.IntN(1800)
}

// recordsOf returns a way to put a message into TLS records, the same for each of two twins.
func recordsOf(r *rand.Rand) func([]byte) []byte {
	kind, seed := r.IntN(6), r.Uint64()
	return func(message []byte) []byte {
		r := rand.New(rand.NewPCG(seed, 0))
		switch kind {
		case 0:
			var cuts []int
			for range 1 + r.IntN(4) {
				cuts = append(cuts, r.IntN(len(message)))
			}
			return clienthello.Records(message, cuts...)
		case 1:
			empty := slices.Repeat([]byte{22, 3, 1, 0, 0}, 1+r.IntN(3))
			if r.IntN(2) == 0 {
				return slices.Concat(empty, clienthello.Records(message))
			}
			at := 1 + r.IntN(len(message)-1)
			return slices.Concat(clienthello.Records(message[:at]), empty, clienthello.Records(message[at:]))
		}
		return clienthello.Records(message)
	}
}

// settle is what a client does in the end: it sends again what may be missing, and goes on as if there had been
// nothing.
func (s *schedule) settle(r *rand.Rand) {
	if r.IntN(10) > 0 {
		s.resend()
	} else {
		s.goOn()
	}
}

func (s *schedule) resend() {
	clock := int32(len(s.steps)) // later than all that came before
	for at := 0; at < len(s.stream); at += mss {
		end := min(len(s.stream), at+mss)
		s.steps = append(s.steps, segment{at: at, data: s.stream[at:end], clock: clock, what: settled})
	}
	s.goOn()
}

func (s *schedule) goOn() {
	clock := int32(len(s.steps))
	at := len(s.stream)
	for range 3 {
		s.steps = append(s.steps, segment{at: at, data: request, clock: clock, what: settled})
		at += len(request)
	}
}

// maker makes the steps of a schedule. Both streams are of one length.
type maker struct {
	r           *rand.Rand
	s           *schedule
	mine, other []byte // the client's own bytes, and others for the same places
	steps       []segment
}

// cut cuts the client's stream into 1 to 12 segments, sometimes with a stretch of single bytes.
func (m *maker) cut() {
	n := len(m.mine)
	var cuts []int
	switch m.r.IntN(6) {
	case 0:
	case 1:
		from := m.r.IntN(n)
		for at := from; at < min(n, from+1+m.r.IntN(40)); at++ {
			cuts = append(cuts, at)
		}
	default:
		for range 1 + m.r.IntN(11) {
			cuts = append(cuts, 1+m.r.IntN(n-1))
		}
	}
	for _, s := range clienthello.Segments(m.mine, cuts...) {
		for len(s.Data) > mss {
			m.steps = append(m.steps, segment{at: s.Offset, data: s.Data[:mss]})
			s = clienthello.Segment{Offset: s.Offset + mss, Data: s.Data[mss:]}
		}
		m.steps = append(m.steps, segment{at: s.Offset, data: s.Data})
	}
	for i := range m.steps {
		m.steps[i].clock = int32(i)
	}
}

// order lets the segments change places. Each has the clock of the time at which it was sent first.
func (m *maker) order() {
	n := len(m.steps)
	switch m.r.IntN(6) {
	case 0, 1, 2:
	case 3:
		if n > 1 {
			i := m.r.IntN(n - 1)
			m.steps[i], m.steps[i+1] = m.steps[i+1], m.steps[i]
		}
	case 4:
		slices.Reverse(m.steps)
	default:
		m.r.Shuffle(n, func(i, j int) { m.steps[i], m.steps[j] = m.steps[j], m.steps[i] })
	}
}

// insert puts a step anywhere.
func (m *maker) insert(what string, s segment) {
	s.what = what
	m.steps = slices.Insert(m.steps, m.r.IntN(len(m.steps)+1), s)
}

// piece is any range of the streams that fits into a segment; a third are ranges that the client sends itself.
func (m *maker) piece() (from, to int) {
	if m.r.IntN(3) == 0 {
		s := m.steps[m.r.IntN(len(m.steps))]
		from, to = max(0, s.at), max(0, s.at)+len(s.data)
		if from < to && to <= len(m.mine) {
			return from, to
		}
	}
	from = m.r.IntN(len(m.mine))
	if m.r.IntN(3) == 0 {
		from = 0
	}
	return from, from + 1 + m.r.IntN(min(mss, len(m.mine)-from))
}

// foreign is a segment with other bytes than the client's: of the twin mostly, or noise.
func (m *maker) foreign() segment {
	from, to := m.piece()
	if m.r.IntN(6) > 0 {
		return segment{at: from, data: m.other[from:to]}
	}
	data := make([]byte, to-from)
	for i := range data {
		data[i] = byte(m.r.Uint32())
	}
	return segment{at: from, data: data}
}

// any is a segment of the client's own bytes.
func (m *maker) own() segment {
	from, to := m.piece()
	return segment{at: from, data: m.mine[from:to]}
}

// trick is one way to send what a receiver takes otherwise than one thinks.
type trick struct {
	name string
	play func(m *maker)
}

// decoy is a trick that sends other bytes in a way that no receiver takes, or takes otherwise.
func decoy(name string, change func(m *maker, s *segment)) trick {
	return trick{name, func(m *maker) {
		s := m.foreign()
		change(m, &s)
		m.insert(name, s)
	}}
}

// flagged is a trick that changes one of the client's own segments.
func flagged(name string, change func(m *maker, s *segment)) trick {
	return trick{name, func(m *maker) {
		s := &m.steps[m.r.IntN(len(m.steps))]
		if s.what == "" {
			s.what = name
			change(m, s)
		}
	}}
}

const ackPSH = packet.ACK | packet.PSH

var tricks = []trick{
	{"again", func(m *maker) { m.insert("again", m.own()) }},
	{"gap", func(m *maker) {
		if i := m.r.IntN(len(m.steps)); len(m.steps) > 1 {
			m.steps = slices.Delete(m.steps, i, i+1)
		}
	}},
	{"early", func(m *maker) {
		s, n := m.own(), 1+m.r.IntN(60)
		s.at, s.data = -n, slices.Concat(make([]byte, n), m.mine[:min(len(m.mine), len(s.data), longest-n)])
		m.insert("early", s)
	}},
	{"before", func(m *maker) {
		n := 1 + m.r.IntN(60)
		m.insert("before", segment{at: -n - m.r.IntN(3), data: m.other[:min(n, len(m.other))]})
	}},
	{"keep-alive", func(m *maker) {
		i := m.r.IntN(len(m.steps))
		end := m.steps[i].at + len(m.steps[i].data)
		m.steps = slices.Insert(m.steps, i+1, segment{at: end - 1, data: make([]byte, m.r.IntN(2)), what: "keep-alive"})
	}},
	decoy("other bytes", func(*maker, *segment) {}),
	decoy("other bytes", func(*maker, *segment) {}),
	decoy("other bytes", func(*maker, *segment) {}),
	decoy("bad sum", func(_ *maker, s *segment) { s.badSum = true }),
	decoy("MD5", func(_ *maker, s *segment) { s.md5 = true }),
	decoy("no ACK", func(m *maker, s *segment) {
		s.flags = []uint8{0, packet.PSH, packet.PSH | packet.URG}[m.r.IntN(3)]
		s.noFlags = s.flags == 0
	}),
	decoy("old stamp", func(m *maker, s *segment) { s.clock = -1 - int32(m.r.IntN(5)) }),
	decoy("ancient stamp", func(m *maker, s *segment) { s.clock = -1 << (10 + m.r.IntN(21)) }),
	decoy("future stamp", func(m *maker, s *segment) { s.clock = 1 << (3 + m.r.IntN(28)) }),
	decoy("no stamp", func(_ *maker, s *segment) { s.bare = true }),
	decoy("ACK beyond", func(m *maker, s *segment) { s.ack = 1 << m.r.IntN(31) }),
	decoy("ACK too old", func(m *maker, s *segment) { s.ack = -1 << m.r.IntN(31) }),
	decoy("far", func(m *maker, s *segment) { s.at += []int{64000, 65536, 1 << 20, 1 << 30, -1 << 20}[m.r.IntN(5)] }),
	decoy("SYN", func(m *maker, s *segment) { s.flags = ackPSH | packet.SYN }),
	decoy("bare SYN", func(m *maker, s *segment) { s.flags = packet.SYN; s.at-- }),
	decoy("RST", func(m *maker, s *segment) { s.flags = packet.RST | uint8(m.r.IntN(2))*packet.ACK }),
	decoy("FIN", func(_ *maker, s *segment) { s.flags = ackPSH | packet.FIN }),
	flagged("early FIN", func(_ *maker, s *segment) { s.flags = ackPSH | packet.FIN }),
	flagged("pushed flags", func(_ *maker, s *segment) { s.flags = packet.ACK | packet.ECE | packet.CWR }),
	{"RST before", func(m *maker) { m.insert("RST before", segment{at: -1 - m.r.IntN(3), flags: packet.RST}) }},
	{"SYN again", func(m *maker) { m.insert("SYN again", segment{at: -1, flags: packet.SYN}) }},
	{"other SYN", func(m *maker) { m.insert("other SYN", segment{at: 1 + int(m.r.Int32()), flags: packet.SYN}) }},
	{"ACK", func(m *maker) { m.insert("ACK", segment{at: m.r.IntN(len(m.mine)), flags: packet.ACK}) }},
	{"urgent pointer", func(m *maker) {
		m.insert("urgent pointer", segment{flags: packet.ACK | packet.URG, urgent: uint16(1 + m.r.IntN(len(m.mine)))})
	}},
	{"urgent byte", urgentByte},
	{"urgent byte", urgentByte},
}

// urgentByte puts a byte into the stream that a receiver takes out again.
func urgentByte(m *maker) {
	for i := range m.steps {
		s := &m.steps[i]
		if s.what != "" || s.at < 0 || len(s.data) < 2 || m.r.IntN(3) > 0 {
			continue
		}
		at := 1 + m.r.IntN(len(s.data)-1)
		place := s.at + at
		s.data = slices.Insert(slices.Clone(s.data), at, byte(m.r.Uint32()))
		s.flags, s.urgent, s.what = ackPSH|packet.URG, uint16(at+1), "urgent byte"
		junk := s.data[at]
		for j := range m.steps {
			if t := &m.steps[j]; j != i && t.at >= place {
				t.at++
			}
		}
		m.mine = slices.Insert(slices.Clone(m.mine), place, junk)
		m.other = slices.Insert(slices.Clone(m.other), place, junk)
		m.s.stream = m.mine
		return
	}
}
