// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// Requests for Multipath TCP, as RFC 8684 and RFC 6824 (12 bytes) write them.
var (
	mpCapable  = packet.Option(30, 0x01, 0x01)
	mpCapable0 = packet.Option(30, append([]byte{0x00, 0x81}, 1, 2, 3, 4, 5, 6, 7, 8)...)
	mpJoin     = packet.Option(30, 0x10, 1, 0xde, 0xad, 0xbe, 0xef, 9, 8, 7, 6)
	mpAddress  = packet.Option(30, 0x30, 1, 10, 0, 0, 1) // ADD_ADDR: no request
)

// stripping is the site whose service web keeps its connections to plain TCP.
func (f family) stripping() *config.Host {
	h := f.site()
	h.Services[0].MPTCP = config.MPTCPStrip
	return h
}

// optionsOf cuts the options out of a SYN of f.
func optionsOf(frame []byte) []byte {
	at := packet.EthernetLen + packet.IPv4Len
	if frame[packet.EthernetLen]>>4 == 6 {
		at = packet.EthernetLen + packet.IPv6Len
	}
	return frame[at+20 : at+int(frame[at+12]>>4)*4]
}

// segmentSum is the sum of pseudo header and segment: 0xffff where the checksum is right.
func segmentSum(frame []byte) uint16 {
	ip := frame[packet.EthernetLen:]
	if ip[0]>>4 == 6 {
		return sumWith(ip[8:40], ip[packet.IPv6Len:][:binary.BigEndian.Uint16(ip[4:])])
	}
	return sumWith(ip[12:20], ip[packet.IPv4Len:binary.BigEndian.Uint16(ip[2:])])
}

func sumWith(addresses, segment []byte) uint16 {
	return onesSum(slices.Concat(addresses, []byte{0, packet.ProtoTCP},
		binary.BigEndian.AppendUint16(nil, uint16(len(segment))), segment))
}

// strip sends a SYN and returns the frame that left and its reason.
func (p *plane) strip(frame []byte, a loader.Arrival) ([]byte, string) {
	p.t.Helper()
	action, out, err := p.RunAs(frame, a)
	p.must(err)
	p.sent++
	reason := actionName(action)
	for c := range p.catchUp() {
		reason = bpf.ReasonName(c.Reason)
		reached.Store(reason, true)
	}
	return out, reason
}

// A request for Multipath TCP becomes NOPs, at any place among the options, and the checksum stays right; nothing else
// changes.
func TestMPTCPIsStripped(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		p.publish(f.stripping(), f.usual().bundle())
		for name, c := range map[string]struct {
			options []byte
			want    []byte // nil: as it was
		}{
			"capable":              {slices.Concat(browserOptions, mpCapable), slices.Concat(browserOptions, nops(4))},
			"capable, version 0":   {slices.Concat(packet.MSS(1460), mpCapable0), slices.Concat(packet.MSS(1460), nops(12))},
			"join":                 {slices.Concat(packet.MSS(1460), mpJoin), slices.Concat(packet.MSS(1460), nops(12))},
			"at an odd place":      {slices.Concat(nops(1), mpCapable, nops(3)), nops(8)},
			"join at an odd place": {slices.Concat(nops(3), mpJoin, nops(1)), nops(16)},
			"two":                  {slices.Concat(mpCapable, mpJoin), nops(16)},
			"behind 36 NOPs":       {slices.Concat(nops(36), mpCapable), nops(40)},
			"an address":           {mpAddress, nil},
			"none":                 {browserOptions, nil},
			"behind the end":       {slices.Concat([]byte{0}, mpCapable, nops(3)), nil},
			"with another length":  {slices.Concat(packet.Option(30, 0x01, 0x01, 1, 1), nops(2)), nil},
		} {
			frame := f.segment(f.visitor, packet.TCP{Seq: visitorISN, Flags: packet.SYN, Options: c.options}).Bytes()
			out, reason := p.strip(frame, loader.Arrival{})
			want := c.want
			if want == nil {
				want = c.options
			}
			if !bytes.Equal(optionsOf(out), want) || segmentSum(out) != 0xffff {
				t.Errorf("%s: options %x, want %x; sum %#x", name, optionsOf(out), want, segmentSum(out))
			}
			if stripped := reason == "mptcp_stripped"; stripped != (c.want != nil) {
				// A SYN of 24 options and more has no fingerprint, and is told for that.
				t.Errorf("%s: reason %s", name, reason)
			}
			blank := func(b []byte) []byte { // what may change
				b = slices.Clone(b)
				clear(optionsOf(b))
				at := len(b) - len(optionsOf(b)) - 4
				clear(b[at : at+2])
				return b
			}
			if !bytes.Equal(blank(frame), blank(out)) {
				t.Errorf("%s: something else changed: %x, want %x", name, out, frame)
			}
		}
	})
}

func nops(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// A listed fingerprint is that of the SYN as it came, and a denied SYN is dropped.
func TestStrippedSYNKeepsItsFingerprint(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := rules().rule("multi", 100).tcp("multi", "64240:2-30:1460:").bundle()
		p := borrow(t)
		p.publish(f.stripping(), b)
		listed := f.segment(f.visitor,
			packet.TCP{Seq: visitorISN, Flags: packet.SYN, Options: slices.Concat(packet.MSS(1460), mpCapable)})
		p.want("listed", listed, drops("tcp_fingerprint"))
	})
}

// Where nothing may be blocked nothing is stripped either.
func TestMPTCPIsLeftAlone(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		syn := f.segment(f.visitor,
			packet.TCP{Seq: visitorISN, Flags: packet.SYN, Options: slices.Concat(browserOptions, mpCapable)})
		p.publish(f.site(), f.usual().bundle())
		p.want("not asked for", syn, passes("no_match"))
		p.publish(f.stripping(), f.usual().bundle())
		p.mode(config.ModeObserve)
		p.want("observed", syn, passes("no_match"))
		p.mode(config.ModeEnforce)
		info, err := p.Host()
		p.must(err)
		web, _ := info.Service("web")
		p.SetServiceBypass(web.ID, loader.DeadlineForever)
		p.want("bypassed", syn, undecided("web", "service_bypass"))
		p.SetServiceBypass(web.ID, 0)
		far := syn
		tcp := far.Body.(packet.TCP)
		tcp.DestPort = remotePort
		far.Body = tcp
		p.want("another service", far, passes("no_match").of("far"))
		tcp.DestPort, tcp.Flags = webPort, packet.SYN|packet.ACK
		far.Body = tcp
		p.want("a SYN+ACK", far, passes("handshake"))
		h := f.stripping()
		h.Guards.AgentTimeout = config.Timeout(1)
		p.publish(h, f.usual().bundle())
		p.poll("nothing is stripped without an agent", func() bool {
			out, reason := p.strip(syn.Bytes(), loader.Arrival{})
			return reason == "no_match" && bytes.Equal(out, syn.Bytes())
		})
	})
}

// A frame whose sum is to be added by a card keeps the sum of its pseudo header, on an interface where such come.
func TestMPTCPOfPartialSums(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		p.publish(f.stripping(), f.usual().bundle())
		frame := f.segment(f.visitor,
			packet.TCP{Seq: visitorISN, Flags: packet.SYN, Options: slices.Concat(browserOptions, mpCapable)}).Bytes()
		at := len(frame) - len(optionsOf(frame)) - 20
		check := frame[at+16 : at+18]
		clear(check)
		pseudo := segmentSum(frame) - onesSum(frame[at:])
		if segmentSum(frame) < onesSum(frame[at:]) {
			pseudo--
		}
		binary.BigEndian.PutUint16(check, pseudo)
		const loopback = 1
		m := p.pinned(bpf.DataplaneMapInterfaces)
		for _, c := range []struct {
			flags uint32
			kept  bool
		}{{uint32(bpf.InterfacePartialSums), true}, {0, false}} {
			p.must(m.Put(uint32(loopback), bpf.DataplaneInterface{Flags: c.flags}))
			out, reason := p.strip(frame, loader.Arrival{Interface: loopback})
			got := out[at+16 : at+18]
			if kept := bytes.Equal(got, check); kept != c.kept || reason != "mptcp_stripped" {
				t.Errorf("flags %d: the sum is kept: %v, want %v; %s", c.flags, kept, c.kept, fmt.Sprint(reason))
			}
		}
	})
}
