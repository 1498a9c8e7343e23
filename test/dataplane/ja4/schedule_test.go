// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	support "github.com/spillway/spillway/test/support/plane"
)

// schedule is the way of one visitor's hello through a bad network, beside a stranger who floods. It depends on seed
// and number alone.
type schedule struct {
	r      *rand.Rand
	number uint64
	stream []byte
}

// seedOf returns SPILLWAY_SEED, or one of the clock, which is printed.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("SPILLWAY_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("seed %d", seed)
	return seed
}

func newSchedule(seed, number uint64) *schedule {
	s := &schedule{r: rand.New(rand.NewPCG(seed, number)), number: number}
	h := browser(s.r.Uint64())
	if s.r.IntN(3) == 0 {
		h = tiny(0x1301)
	}
	s.stream = one(h)
	return s
}

// play sends the segments: shuffled, some again, some overlapping, and at the end all that is still missing, in order.
// Now and then we do something, and the stranger sends something.
func (s *schedule) play(v *client, stranger string) {
	v.r.t.Helper()
	cuts := make([]int, s.r.IntN(8))
	for i := range cuts {
		cuts[i] = s.r.IntN(len(s.stream))
	}
	segments := clienthello.Segments(s.stream, sorted(cuts)...)
	sent := segments
	switch s.r.IntN(4) {
	case 0:
		sent = clienthello.Overlap(s.r, segments)
	case 1:
		sent = clienthello.Retransmit(s.r, segments)
	case 2:
		sent = clienthello.Shuffle(s.r, clienthello.Retransmit(s.r, segments))
	case 3:
		s.r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	}
	for _, seg := range sent {
		s.interfere(v, stranger)
		if s.r.IntN(12) > 0 { // else it is lost, and comes again
			v.data(seg.Offset, seg.Data)
		}
	}
	for _, seg := range clienthello.Segments(s.stream, sorted(cuts)...) {
		v.data(seg.Offset, seg.Data)
	}
	s.interfere(v, stranger)
}

func sorted(cuts []int) []int {
	var out []int
	for at := 1; at < 1<<14; at++ {
		for _, c := range cuts {
			if c == at {
				out = append(out, at)
				break
			}
		}
	}
	return out
}

// interfere is what else happens meanwhile. Nothing that a stranger sends may reach the sockets in a visitor's name but
// what Linux refuses.
func (s *schedule) interfere(v *client, stranger string) {
	p := v.p
	visitor := clienthello.Connection{Source: v.k.Source, Dest: v.k.Dest, ISN: s.r.Uint32(), Ack: 1}
	switch s.r.IntN(24) {
	case 0:
		p.run(visitor.SYN()) // of another ISN
	case 1:
		p.run(v.k.SYN()) // again
	case 2:
		v.forged(s.r.IntN(4000), make([]byte, 1+s.r.IntN(1000)))
	case 3:
		p.run(visitor.Frame(clienthello.Segment{Offset: 0, Data: s.stream})) // at another place
	case 4:
		v.evictIfThere()
	case 5:
		p.losePlaces()
	case 6:
		p.SetBypass(loader.DeadlineForever)
		p.SetBypass(0)
	case 7:
		p.must(p.RefillPrograms())
	case 8:
		p.must(p.Forget(bpf.DataplaneMapSyns))
	case 9: // unfinished hellos of others
		from := netip.AddrPortFrom(netip.MustParseAddr(stranger), uint16(s.r.IntN(60000)+1))
		other := clienthello.Connection{Source: from, Dest: v.k.Dest, ISN: s.r.Uint32(), Ack: 1}
		p.run(other.SYN())
		p.run(other.Frame(clienthello.Segment{Offset: 0, Data: s.stream[:min(500, len(s.stream)-1)]}))
	case 10: // a fragment of a stranger, and one in the visitor's name
		for _, from := range []netip.Addr{netip.MustParseAddr(stranger), v.k.Source.Addr()} {
			p.run(packet.Frame{Source: from, Dest: v.k.Dest.Addr(), Fragment: &packet.Fragment{Offset: 100, ID: s.r.Uint32()},
				Body: packet.Raw{Protocol: packet.ProtoTCP, Data: make([]byte, 64)}}.Bytes())
		}
	case 11:
		p.run(v.segment(packet.RST|packet.ACK, s.r.Uint32(), nil))
		p.run(v.segment(packet.FIN|packet.ACK, s.r.Uint32(), nil))
	}
}

func (c *client) evictIfThere() {
	_ = c.p.maps[bpf.DataplaneMapFlows].Delete(c.p.NameOf(support.KeyOf(c.k.Source, c.k.Dest)))
}
