// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/spillway/spillway/test/support/packet"
)

// segment is what a client may send.
type segment struct {
	at      int // of its data, in bytes behind ISN + 1; negative: before the beginning
	data    []byte
	flags   uint8 // 0: ACK and PSH
	noFlags bool  // none at all
	ack     int32 // added to what the client acknowledges
	clock   int32 // added to its timestamp
	bare    bool  // without a timestamp, though the connection has them
	md5     bool  // with an MD5 option, RFC 2385
	badSum  bool
	urgent  uint16
	pieces  bool // in two IP fragments
	what    string
}

// client is one end of a connection, played by the test.
type client struct {
	l        *wire
	from, to netip.AddrPort
	isn, iss uint32
	stamps   bool
	sack     bool
	clock    uint32 // of its timestamps
	echo     uint32 // the server's last
}

// open sends the SYN and takes the server's answer.
func (c *client) open() {
	c.l.t.Helper()
	c.l.answers(c.from)
	for deadline := time.Now().Add(patience); ; {
		c.l.send(c.frame(segment{at: -1, flags: packet.SYN}))
		for _, a := range c.l.answers(c.from) {
			if a.flags == packet.SYN|packet.ACK && a.ack == c.isn+1 {
				c.iss, c.echo = a.seq, a.stamp
				return
			}
		}
		if time.Now().After(deadline) {
			c.l.t.Fatalf("the server does not answer the SYN of %s", c.from)
		}
	}
}

// send sends a segment.
func (c *client) send(s segment) {
	c.l.t.Helper()
	frame := c.frame(s)
	if s.pieces {
		for _, f := range c.fragments(frame) {
			c.l.send(f)
		}
		return
	}
	c.l.send(frame)
}

// fragments cuts a frame's packet in two, behind the TCP header.
func (c *client) fragments(frame []byte) (both [2][]byte) {
	tcp := frame[packet.EthernetLen+packet.IPv4Len:]
	if c.from.Addr().Is6() {
		tcp = frame[packet.EthernetLen+packet.IPv6Len:]
	}
	cut := min(len(tcp), 64) &^ 7
	for i, part := range [][]byte{tcp[:cut], tcp[cut:]} {
		both[i] = packet.Frame{Source: c.from.Addr(), Dest: c.to.Addr(),
			Body:     packet.Raw{Protocol: packet.ProtoTCP, Data: part},
			Fragment: &packet.Fragment{Offset: uint16(i * cut / 8), More: i == 0, ID: c.isn ^ sequence(tcp)}}.Bytes()
	}
	return both
}

// sequence is the number in a TCP header, by which fragments of one segment find each other.
func sequence(tcp []byte) uint32 { return binary.BigEndian.Uint32(tcp[4:]) }

func (c *client) options(s segment) (o []byte) {
	if s.flags == packet.SYN && len(s.data) == 0 {
		o = append(o, packet.MSS(1460)...)
		if c.sack {
			o = append(o, packet.Options(packet.NOP(), packet.NOP(), packet.SACKPermitted())...)
		}
		o = append(o, packet.Options(packet.NOP(), packet.Scale(7))...)
	}
	if c.stamps && !s.bare {
		o = append(o, packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(c.clock+uint32(s.clock), c.echo))...)
	}
	if s.md5 {
		o = append(o, packet.Options(packet.NOP(), packet.NOP(), packet.Option(19, make([]byte, 16)...))...)
	}
	return o
}

func (c *client) frame(s segment) []byte {
	t := packet.TCP{SourcePort: c.from.Port(), DestPort: c.to.Port(), Seq: c.isn + 1 + uint32(int32(s.at)), Flags: s.flags,
		Window: 64240, Options: c.options(s), Payload: s.data}
	if s.flags == 0 && !s.noFlags {
		t.Flags = packet.ACK | packet.PSH
	}
	if t.Flags&packet.ACK != 0 {
		t.Ack = c.iss + 1 + uint32(s.ack)
	}
	frame := packet.Frame{Source: c.from.Addr(), Dest: c.to.Addr(), Body: t}.Bytes()
	header := frame[packet.EthernetLen+packet.IPv4Len:]
	if c.from.Addr().Is6() {
		header = frame[packet.EthernetLen+packet.IPv6Len:]
	}
	if s.urgent != 0 {
		binary.BigEndian.PutUint16(header[18:], s.urgent)
		sum := uint32(^binary.BigEndian.Uint16(header[16:])) + uint32(s.urgent)
		binary.BigEndian.PutUint16(header[16:], ^uint16(sum+sum>>16))
	}
	if s.badSum {
		header[16] ^= 0x55
	}
	return frame
}
