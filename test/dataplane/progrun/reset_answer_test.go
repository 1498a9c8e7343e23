// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// rst is what an RST on the wire says, as the receiver reads it.
type rst struct {
	To, From string // hardware addresses
	Tags     string // what stands between them and the IP header, in hexadecimal
	Source   netip.AddrPort
	Dest     netip.AddrPort
	Seq, Ack uint32
	Flags    uint8
}

const (
	serverMAC = "020000000001" // of packet.Frame.Bytes
	clientMAC = "020000000002"
)

// toServer is the RST that a first payload becomes. The frame says who is meant, and what tags there were.
func (k *conn) toServer(f packet.Frame, seq uint32) rst {
	tcp := f.Body.(packet.TCP)
	return rst{To: serverMAC, From: clientMAC, Tags: tagsOf(f), Source: netip.AddrPortFrom(f.Source, tcp.SourcePort),
		Dest: netip.AddrPortFrom(f.Dest, tcp.DestPort), Seq: seq, Flags: packet.RST}
}

// toClient is the answer to a later segment (RFC 9293 section 3.10.7.1): with the number that it acknowledged; if it
// acknowledged none, with 0, and an acknowledgement of all that it carried.
func toClient(f packet.Frame) rst {
	tcp := f.Body.(packet.TCP)
	r := rst{To: clientMAC, From: serverMAC, Tags: tagsOf(f), Source: netip.AddrPortFrom(f.Dest, tcp.DestPort),
		Dest: netip.AddrPortFrom(f.Source, tcp.SourcePort)}
	if tcp.Flags&packet.ACK != 0 {
		r.Seq, r.Flags = tcp.Ack, packet.RST
		return r
	}
	r.Ack, r.Flags = tcp.Seq+uint32(len(tcp.Payload)), packet.RST|packet.ACK
	if tcp.Flags&packet.FIN != 0 {
		r.Ack++
	}
	return r
}

func tagsOf(f packet.Frame) string { return fmt.Sprintf("%x", f.Bytes()[12:f.L3()]) }

// readReset reads an RST and refuses what a receiver would not take: wrong lengths, wrong sums, bytes too many.
func readReset(frame []byte) (r rst, err error) {
	l3 := 12
	for l3+2 <= len(frame) &&
		(binary.BigEndian.Uint16(frame[l3:]) == packet.EtherVLAN || binary.BigEndian.Uint16(frame[l3:]) == packet.EtherQinQ) {
		l3 += 4
	}
	if len(frame) < l3+2 {
		return r, fmt.Errorf("a frame of %d bytes", len(frame))
	}
	etherType := binary.BigEndian.Uint16(frame[l3:])
	l3 += 2
	r = rst{To: fmt.Sprintf("%x", frame[:6]), From: fmt.Sprintf("%x", frame[6:12]), Tags: fmt.Sprintf("%x", frame[12:l3])}
	ip := frame[l3:]
	var source, dest netip.Addr
	switch {
	case etherType == packet.EtherIPv4 && len(ip) == packet.IPv4Len+packet.TCPLen:
		err = readReset4(ip)
		source, dest = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	case etherType == packet.EtherIPv6 && len(ip) == packet.IPv6Len+packet.TCPLen:
		err = readReset6(ip)
		source, dest = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	default:
		return r, fmt.Errorf("EtherType %#x and %d bytes behind it", etherType, len(ip))
	}
	tcp := ip[len(ip)-packet.TCPLen:]
	pseudo := append(append(source.AsSlice(), dest.AsSlice()...), 0, packet.ProtoTCP, 0, packet.TCPLen)
	if sum := onesSum(append(pseudo, tcp...)); sum != 0xffff {
		err = errors.Join(err, fmt.Errorf("the TCP segment sums up to %#x with its checksum %x", sum, tcp[16:18]))
	}
	if tcp[12] != packet.TCPLen/4<<4 || !bytes.Equal(tcp[14:16], []byte{0, 0}) || !bytes.Equal(tcp[18:], []byte{0, 0}) {
		err = errors.Join(err, fmt.Errorf("data offset, window or urgent pointer: %x", tcp[12:]))
	}
	r.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp))
	r.Dest = netip.AddrPortFrom(dest, binary.BigEndian.Uint16(tcp[2:]))
	r.Seq, r.Ack, r.Flags = binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:]), tcp[13]
	return r, err
}

func readReset4(ip []byte) (err error) {
	if ip[0] != 0x45 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) || ip[9] != packet.ProtoTCP {
		err = fmt.Errorf("the IPv4 header is %x, of %d bytes", ip[:packet.IPv4Len], len(ip))
	}
	if binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 || ip[8] < 32 {
		err = errors.Join(err, fmt.Errorf("a fragment, or a TTL that does not reach far: %x", ip[:packet.IPv4Len]))
	}
	if sum := onesSum(ip[:packet.IPv4Len]); sum != 0xffff {
		err = errors.Join(err, fmt.Errorf("the IPv4 header sums up to %#x", sum))
	}
	return err
}

func readReset6(ip []byte) error {
	if ip[0]>>4 != 6 || binary.BigEndian.Uint16(ip[4:]) != packet.TCPLen || ip[6] != packet.ProtoTCP || ip[7] < 32 {
		return fmt.Errorf("the IPv6 header is %x", ip[:8])
	}
	return nil
}

// onesSum is RFC 1071: what includes a right checksum sums up to ffff.
func onesSum(b []byte) uint16 {
	var sum uint64
	for ; len(b) > 1; b = b[2:] {
		sum += uint64(b[0])<<8 | uint64(b[1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// exchange is send for a packet that may be answered: it returns the frame as it left, too.
func (p *plane) exchange(frame []byte) (result, []byte) {
	p.t.Helper()
	action, out, err := p.Run(frame)
	p.must(err)
	p.sent++
	grown := p.catchUp()
	if len(grown) != 1 {
		p.t.Errorf("%d counters moved by one packet, want 1: %v", len(grown), p.readable(grown))
	}
	r := result{Action: actionName(action)}
	for c, n := range grown {
		if n != 1 {
			p.t.Errorf("a counter grew by %d for one packet: %v", n, p.readable(grown))
		}
		r = p.result(c, action)
		reached.Store(r.Reason, true)
	}
	return r, out
}

// wantReset sends a frame and compares how it left, and as which RST.
func (p *plane) wantReset(what string, frame []byte, want result, answer rst) {
	p.t.Helper()
	got, out := p.exchange(frame)
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
		return
	}
	read, err := readReset(out)
	if err != nil {
		p.t.Errorf("%s: no RST that anybody takes: %v: %x", what, err, out[:min(len(out), 120)])
	}
	if diff := cmp.Diff(answer, read, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		p.t.Errorf("%s: the RST (-want +got):\n%s", what, diff)
	}
}

// resets is a first payload that became an RST for the server's socket; freedLater a later segment that did, because
// the socket is still there; answered a later segment that became an RST for the client.
func resets(reason string) result     { return result{"XDP_PASS", "web", "stable", reason, "reset"} }
func freedLater(reason string) result { return resets(reason) }
func answered(reason string) result   { return result{"XDP_TX", "web", "stable", reason, "reset"} }

const verdictReset = uint8(bpf.VerdictReset)

// onEachFamily runs a test over IPv4 and then over IPv6 on one dataplane.
func onEachFamily(t *testing.T, test func(t *testing.T, p *plane, f family)) {
	t.Helper()
	p := borrow(t)
	for _, name := range []string{bpf.DataplaneMapFlows, bpf.DataplaneMapSyns, bpf.DataplaneMapCounters,
		bpf.DataplaneMapInterfaces} {
		p.pinned(name) // for as long as the dataplane is open
	}
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			p.t = t
			p.site(f, nothing())
			p.renew(f, false)
			p.SetBypass(0)
			test(t, p, f)
		})
		p.t = t
	}
}

// forgetFlows makes the dataplane know no connection.
func (p *plane) forgetFlows() {
	p.t.Helper()
	for k := range p.flows() {
		p.must(p.pinned(bpf.DataplaneMapFlows).Delete(p.NameOf(k)))
	}
}
