// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// "A SYN is decided by its own packet": a forger who sends a denied SYN with a visitor's addresses and ports harms
// nobody, neither before the visitor's connection nor during it.
func TestSYNIsDecidedByItsOwnPacket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, denyScanners())
		forged := f.scan(f.visitor)
		p.want("a forged SYN before", forged, drops("tcp_fingerprint"))
		k := r.visit(f.visitor)
		p.wantBytes("the visitor's SYN", k.syn, passes("no_match"))
		p.want("a forged SYN in between", forged, drops("tcp_fingerprint"))
		p.wantBytes("the visitor's ACK", k.ack, passes("handshake"))
		p.wantBytes("the visitor's first payload", k.write(request), passes("not_hello"))
		flow := p.wantFlow("the visitor", verdictPass, confirmed|firstPayload|hasFingerprint)
		p.want("a forged SYN during it", forged, drops("tcp_fingerprint"))
		p.want("one with the visitor's own number", k.synAs(forged), drops("tcp_fingerprint"))
		p.wantSameFlow("after forged SYNs", flow)
		p.wantBytes("the visitor goes on", k.write(request), known())
	})
}

// "its verdict is never stored for later packets"
func TestSYNVerdictIsNeverStored(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, denyScanners())
		p.want("a scanner's SYN", f.scan(f.visitor), drops("tcp_fingerprint"))
		p.wantNoFlow("after a SYN that was dropped")
		if n := len(p.records()); n != 0 {
			t.Errorf("%d records of a SYN that was dropped", n)
		}
		p.want("the ACK after it", f.ack(f.visitor, botISN+1), passes("handshake"))
		p.want("data after it", f.data(f.visitor, botISN+1, request), passes("midstream"))
		p.want("a hello after it", f.data(f.visitor, botISN+1, hello), passes("unconfirmed"))
		p.want("another SYN from there", f.syn(f.visitor), passes("no_match"))
		p.wantNoFlow("after a SYN that passed")
	})
}

// "What it said (fingerprint, ISN) goes into a fixed, direct-mapped array: no eviction, overwritten": in an array of
// one place the last SYN stands, and the one before it is forgotten, not mixed in.
func TestSYNRecordsAreOverwritten(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		one := capacity
		one.Syns = 1
		p := openSized(t, one).site(f, nothing())
		p.want("a scanner's SYN", f.scan(f.visitor), passes("no_match"))
		record := p.records()[0]
		want := bpf.TCPFingerprint{Window: 1024, Mss: 1460, KindCount: 1, Kinds: [24]uint8{2},
			Present: uint8(bpf.TCPHasMSS)}
		if record.Isn != botISN || record.HasFingerprint != 1 || record.Fingerprint != want {
			t.Errorf("record of a scanner: %+v", record)
		}
		p.want("a browser's SYN", f.syn(f.other), passes("no_match"))
		if got := p.records()[0]; got.Isn != visitorISN || got.Check == record.Check {
			t.Errorf("record after another SYN: %+v", got)
		}
		p.swap(denyScanners())
		p.want("the scanner's hello: its SYN is forgotten", f.data(f.visitor, botISN+1, hello), passes("unconfirmed"))
		p.want("the other's hello: the scanner's facts are not its own", f.data(f.other, botISN+1, hello),
			passes("unconfirmed"))
		p.want("with its own number", f.data(f.other, visitorISN+1, hello), passes("unconfirmed"))
	})
}

// "with a seeded index": nobody can compute which connections share a place.
func TestSYNIndexIsSeeded(t *testing.T) {
	f := families[1]
	var places [2][]uint32
	for i := range places {
		p := borrow(t).site(f, nothing())
		for n := range uint16(8) {
			before := p.records()
			p.run(f.segment(f.visitor, packet.TCP{SourcePort: 1000 + n, Seq: 1, Flags: packet.SYN}).Bytes())
			for index := range p.records() {
				if _, known := before[index]; !known {
					places[i] = append(places[i], index)
				}
			}
		}
	}
	same := 0
	for i := range min(len(places[0]), len(places[1])) {
		if places[0][i] == places[1][i] {
			same++
		}
	}
	// All eight in the same of 4096 places would happen by chance once in 2^96.
	if same == 8 || len(places[0]) == 0 {
		t.Errorf("two dataplanes use the same places: %v", places)
	}
}

// A record that two CPUs wrote at once, or that was damaged, or that belongs to another connection, does not join.
func TestTornAndForeignRecordsDoNotJoin(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.want("a scanner's SYN", f.scan(f.visitor), passes("no_match"))
		p.want("another connection's SYN", f.syn(f.other), passes("no_match"))
		p.swap(denyScanners())
		payload := f.data(f.visitor, botISN+1, hello)
		joined, alone := drops("tcp_fingerprint"), passes("unconfirmed")
		p.want("the whole record", payload, joined)

		syns, at := p.pinned(bpf.DataplaneMapSyns), uint32(0)
		var foreign bpf.SynRecord
		for index, record := range p.records() {
			if record.Isn == botISN {
				at = index
			} else {
				foreign = record
			}
		}
		whole, err := syns.LookupBytes(at)
		p.must(err)
		for i := range whole[:len(whole)-4] { // the sight, which has a mask of its own, joins nothing
			for _, bit := range []byte{0x01, 0x80} {
				torn := append([]byte(nil), whole...)
				torn[i] ^= bit
				p.must(syns.Put(at, torn))
				if got := p.send(payload.Bytes()); got != alone {
					t.Errorf("byte %d of the record is wrong, and it joins: %+v", i, got)
				}
			}
		}
		foreign.Isn = botISN
		p.must(syns.Put(at, foreign))
		p.want("another connection's record with this one's number", payload, alone)
		p.must(syns.Put(at, make([]byte, len(whole))))
		p.want("an empty record", payload, alone)
		p.must(syns.Put(at, whole))
		p.want("the whole record again", payload, joined)
	})
}

// "Data in a SYN (Fast Open) is parsed": it is no way around what the SYN says, and makes no flow by itself.
func TestDataInASYN(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, f.usual().bundle())
		open := func(frame packet.Frame) packet.Frame {
			tcp := frame.Body.(packet.TCP)
			tcp.Payload = hello
			frame.Body = tcp
			return frame
		}
		p.want("a scanner's", open(f.scan(f.visitor)), drops("tcp_fingerprint"))
		p.want("a bot's", open(f.syn(f.bot)), drops("prefix"))
		p.want("a protected source's", open(f.syn(f.protected)), passes("protected"))
		p.want("a forged one", open(f.syn(f.visitor)), passes("no_match"))
		p.wantNoFlow("data in a SYN that no socket vouches for")

		// A server without Fast Open takes the data when it comes again, at ISN + 1.
		k := r.visit(f.visitor)
		p.want("a visitor's", open(k.synAs(f.syn(f.visitor))), passes("no_match"))
		p.wantNoFlow("data in a SYN")
		p.want("the same data after the handshake", k.at(0, hello), passes("no_match"))
		p.wantFlow("a visitor", verdictPass, confirmed|firstPayload|hasFingerprint|hasTLS)
	})
}
