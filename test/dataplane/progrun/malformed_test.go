// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// bend returns variants of f, each with one field that contradicts the rest.
func bend(f packet.Frame) map[string]packet.Frame {
	all := map[string]packet.Frame{}
	ip := func(name string, b packet.Bent) {
		bent := f
		bent.Bent = b
		all[name] = bent
	}
	ip("version 0", packet.Bent{Version: new(uint8(0))})
	ip("version 15", packet.Bent{Version: new(uint8(15))})
	ip("length 0", packet.Bent{Length: new(uint16(0))})
	ip("length 3", packet.Bent{Length: new(uint16(3))})
	if f.Source.Is4() {
		ip("length below the header", packet.Bent{Length: new(uint16(19))})
		ip("length of the header alone", packet.Bent{Length: new(uint16(20))})
		for words := range uint8(5) {
			ip(fmt.Sprintf("header of %d words", words), packet.Bent{HeaderWords: new(words)})
		}
		ip("header beyond the frame", packet.Bent{HeaderWords: new(uint8(15)), Length: new(uint16(64))})
	}
	switch body := f.Body.(type) {
	case packet.TCP:
		for words := range uint8(5) {
			body.HeaderWords = new(words)
			bent := f
			bent.Body = body
			all[fmt.Sprintf("TCP header of %d words", words)] = bent
		}
		body.HeaderWords, body.Payload, body.Options = new(uint8(15)), nil, nil
		f.Body = body
		all["TCP header beyond the packet"] = f
	case packet.UDP:
		f.Body = packet.Raw{Protocol: packet.ProtoUDP, Data: make([]byte, 7)}
		all["UDP header cut short"] = f
	}
	return all
}

// What contradicts itself passes, unless its addresses alone are denied.
func TestMalformedPacketsAreJudgedByTheirAddresses(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		for _, base := range []struct {
			kind    string
			visitor packet.Frame
			bot     packet.Frame
		}{
			{"SYN", f.scan(f.visitor), f.scan(f.bot)},
			{"data", f.data(f.visitor, 5, request), f.data(f.bot, 5, request)},
			{"UDP", f.udp(f.visitor, dnsPort), f.udp(f.bot, dnsPort)},
		} {
			bots := bend(base.bot)
			for name, visitor := range bend(base.visitor) {
				name = base.kind + ", " + name
				// Which service it was for may be out of reach; that it passes or not is not.
				got := p.send(visitor.Bytes())
				if got.Action != "XDP_PASS" || got.Reason != "malformed" {
					t.Errorf("%s: visitor: %+v, want XDP_PASS malformed", name, got)
				}
				got = p.send(bots[name[len(base.kind)+2:]].Bytes())
				if got.Action != "XDP_DROP" || got.Reason != "prefix" {
					t.Errorf("%s: bot: %+v, want XDP_DROP prefix", name, got)
				}
			}
		}
	})
}

// Fields that a receiver checks and Spillway does not: they change nothing here.
func TestChecksumsAreNotOurs(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		bent := func(frame packet.Frame) packet.Frame {
			frame.Bent.Checksum = new(uint16(1))
			switch body := frame.Body.(type) {
			case packet.TCP:
				body.Checksum = new(uint16(1))
				frame.Body = body
			case packet.UDP:
				body.Checksum, body.Length = new(uint16(1)), new(uint16(2))
				frame.Body = body
			}
			return frame
		}
		p.wantRows([]row{
			{"a scanner", bent(f.scan(f.visitor)), drops("tcp_fingerprint")},
			{"a visitor", bent(f.syn(f.visitor)), passes("no_match")},
			{"a bot over UDP", bent(f.udp(f.bot, dnsPort)), drops("prefix").of("dns")},
			{"a visitor over UDP", bent(f.udp(f.visitor, dnsPort)), passes("no_match").of("dns")},
		})
	})
}
