// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// timed is a client with timestamps (RFC 7323), whose segments a test may bend.
type timed struct {
	*client
	clock uint32 // of its SYN and of what is not bent
	echo  uint32 // the server's clock in its SYN-ACK; 0: the server has no timestamps
}

// dialTimed sends a SYN with a timestamp and takes the server's answer.
func (r *room) dialTimed(source string, port uint16, clock uint32, stream []byte) *timed {
	r.t.Helper()
	from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
	to := netip.AddrPortFrom(server4, webPort)
	if from.Addr().Is6() {
		to = netip.AddrPortFrom(server6, webPort)
	}
	k := clienthello.Connection{Source: from, Dest: to, ISN: 0x77000000 + uint32(port)<<8}
	c := &timed{client: &client{visitor: visitor{r.p, k, stream}, r: r}, clock: clock}
	syn := packet.Frame{Source: from.Addr(), Dest: to.Addr(),
		Body: packet.TCP{SourcePort: from.Port(), DestPort: to.Port(), Seq: k.ISN,
			Flags: packet.SYN, Window: 64240, Options: packet.Options(packet.MSS(1460), packet.Timestamps(clock, 0))}}
	c.knock(syn.Bytes())
	c.echo = timestampOf(r.synACK)
	return c
}

// ack finishes the handshake and takes the server's socket.
func (c *timed) ack() {
	c.r.t.Helper()
	c.r.p.wants("the handshake's ACK", "XDP_PASS", c.feed(c.bent(nil, func(s *packet.TCP) { s.Flags = packet.ACK })))
	c.accept()
}

// bent is a segment with the first bytes of a stream, as a bend leaves it.
func (c *timed) bent(data []byte, bends ...func(*packet.TCP)) []byte {
	s := packet.TCP{SourcePort: c.k.Source.Port(), DestPort: c.k.Dest.Port(), Seq: c.k.ISN + 1, Ack: c.k.Ack,
		Flags: packet.ACK | packet.PSH, Window: 64240, Payload: data}
	if c.echo != 0 {
		s.Options = c.stamps(c.clock)
	}
	for _, bend := range bends {
		if bend != nil {
			bend(&s)
		}
	}
	return packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: s}.Bytes()
}

// stamps are the options of a segment with this timestamp, in the usual place.
func (c *timed) stamps(clock uint32) []byte {
	return packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(clock, c.echo))
}

// received is how many bytes the server's socket has taken in.
func (c *timed) received() (n uint64) {
	c.r.t.Helper()
	raw, err := c.server.SyscallConn()
	c.p.must(err)
	c.p.must(raw.Control(func(fd uintptr) { n = c.receivedBy(int(fd)) }))
	return n
}

func (c *timed) receivedBy(fd int) uint64 {
	c.r.t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	c.p.must(err)
	return info.Bytes_received
}

// timestampOf returns the sender's clock in a TCP header, 0 for none.
func timestampOf(tcp []byte) uint32 {
	for o := tcp[packet.TCPLen : int(tcp[12]>>4)*4]; len(o) > 0; {
		switch {
		case o[0] == packet.KindNOP:
			o = o[1:]
		case len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o):
			return 0
		case o[0] == packet.KindTimestamps:
			return binary.BigEndian.Uint32(o[2:])
		default:
			o = o[o[1]:]
		}
	}
	return 0
}

// hasTaken says whether the server's socket has taken data in. Before the handshake's ACK only such data makes a
// socket.
func (c *timed) hasTaken(early bool) (taken bool) {
	c.r.t.Helper()
	if !early {
		return c.received() > 0
	}
	raw, err := c.r.listener.SyscallConn()
	c.p.must(err)
	c.p.must(raw.Control(func(listener uintptr) {
		for { // what a write to the tun device makes is there when the write returns
			fd, from, err := unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			if a, ok := from.(*unix.SockaddrInet6); ok && a.Port == int(c.k.Source.Port()) {
				taken = taken || c.receivedBy(fd) > 0
			}
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(fd)
		}
	}))
	return taken
}

// drop ends the server's side at once.
func (c *timed) drop() {
	if c.server != nil {
		_ = c.server.SetLinger(0)
		_ = c.server.Close()
	}
}
