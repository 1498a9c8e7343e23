// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// On veth, virtio and their like a sender on the same machine leaves all of TCP's checksum but the pseudo header's to a
// card. Where the interface is known for that, such a hello is one like any other; elsewhere it is dropped alone, for a
// server behind a real card would never take it, and a wrong sum says nothing in either case.
func TestPartialChecksums(t *testing.T) {
	denied, harmless := one(browser(1)), harmless()
	const loopback = uint32(1) // where program runs come from
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		m := p.maps[bpf.DataplaneMapInterfaces]
		t.Cleanup(func() { _ = m.Delete(loopback) })
		port := uint16(3000)
		for _, flagged := range []bool{false, true} {
			p.must(m.Put(loopback, bpf.Interface{}))
			if flagged {
				p.must(m.Put(loopback, bpf.Interface{Flags: uint32(bpf.InterfacePartialSums)}))
			}
			for _, c := range []struct {
				name string
				sum  func(c *timed, s *packet.TCP)
				want string
				kept bool
			}{
				{"a whole sum", func(*timed, *packet.TCP) {}, "XDP_DROP", true},
				{"the pseudo header's sum", func(c *timed, s *packet.TCP) { s.Checksum = pseudoSum(c, s) }, "XDP_DROP", true},
				{"the pseudo header's sum of another length", func(c *timed, s *packet.TCP) {
					s.Checksum = pseudoSum(c, s)
					*s.Checksum++
				}, "XDP_PASS", false},
			} {
				port++
				b := r.dialTimed(bot, port, clock, denied)
				b.ack()
				frame := b.bent(denied, func(s *packet.TCP) { c.sum(b, s) })
				p.wants(c.name, c.want, p.run(frame))
				if _, ok := b.flow(); ok != c.kept {
					t.Errorf("%s, flagged %v: kept %v, want %v", c.name, flagged, ok, c.kept)
				}
				v := r.dialTimed(visitor, port, clock, harmless)
				v.ack()
				p.wants("a visitor with "+c.name, "XDP_PASS", p.run(v.bent(harmless, func(s *packet.TCP) { c.sum(v, s) })))
			}
		}
	})
}

// pseudoSum is what a stack leaves in the header for a card to add the rest.
func pseudoSum(c *timed, s *packet.TCP) *uint16 {
	sum := uint32(packet.ProtoTCP) + uint32(packet.TCPLen+len(s.Options)+len(s.Payload))
	for _, a := range [][]byte{c.k.Source.Addr().AsSlice(), c.k.Dest.Addr().AsSlice()} {
		for ; len(a) > 0; a = a[2:] {
			sum += uint32(binary.BigEndian.Uint16(a))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	folded := uint16(sum)
	return &folded
}
