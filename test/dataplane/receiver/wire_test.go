// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// patience is how long the kernel may take for what it does at once.
const patience = 10 * time.Second

// wire is the client's end of the link: raw frames, no stack, so nobody answers but who plays the client. What is sent
// has passed the dataplane and the edge's TCP when send returns.
//
//	client (raw frames) ── out0 === edge0 ── dataplane (XDP, attached) ── Linux's TCP ── server
type wire struct {
	t    testing.TB
	w    *world.World
	fd   int // a packet socket of the outside
	mark int // a UDP socket of the edge, to which each frame's mark is sent behind it
	next uint64
	buf  []byte
	link int       // the one that frames take
	ends []wireEnd // out0, and more where a test made them
}

// wireEnd is the outside's end of a link.
type wireEnd struct {
	index int
	macs  [12]byte // the edge's and its own
}

func endOf(index int, edge, out net.HardwareAddr) wireEnd {
	e := wireEnd{index: index}
	copy(e.macs[:6], edge)
	copy(e.macs[6:], out)
	return e
}

const markPort = 9

func newWire(t testing.TB, w *world.World) *wire {
	t.Helper()
	l := &wire{t: t, w: w, buf: make([]byte, 1<<16), ends: []wireEnd{endOf(w.OutIndex, w.EdgeMAC, w.OutMAC)}}
	l.must(w.Out.Do(func() (err error) {
		const all = uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8)
		l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all))
		if err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(l.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: w.OutIndex}))
	}))
	t.Cleanup(func() { _ = unix.Close(l.fd) })
	l.must(w.Edge.Do(func() (err error) {
		l.mark, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		wait := unix.NsecToTimeval(int64(patience))
		return errors.Join(unix.Bind(l.mark, &unix.SockaddrInet4{Port: markPort}),
			unix.SetsockoptTimeval(l.mark, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	}))
	t.Cleanup(func() { _ = unix.Close(l.mark) })
	return l
}

func (l *wire) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// send sends a frame and returns when the edge is done with it: frames are taken in one after the other, so when the
// mark behind it has arrived, it has.
func (l *wire) send(frame []byte) {
	l.t.Helper()
	l.put(frame)
	l.next++
	l.put(packet.Frame{Source: netip.AddrFrom4([4]byte{198, 18, 200, 1}), Dest: lab.EdgeAddr4, Body: packet.UDP{
		SourcePort: markPort, DestPort: markPort, Payload: binary.BigEndian.AppendUint64(nil, l.next)}}.Bytes())
	for got := uint64(0); got != l.next; {
		n, _, err := unix.Recvfrom(l.mark, l.buf, 0)
		if err != nil {
			l.t.Fatalf("the mark behind a frame does not arrive: %v", err)
		}
		if n == 8 {
			got = binary.BigEndian.Uint64(l.buf)
		}
	}
}

func (l *wire) put(frame []byte) {
	l.t.Helper()
	end := l.ends[l.link]
	copy(frame, end.macs[:])
	for deadline := time.Now().Add(patience); ; {
		err := unix.Sendto(l.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: end.index, Halen: 6})
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) || time.Now().After(deadline) {
			l.t.Fatalf("send a frame of %d bytes: %v", len(frame), err)
		}
	}
}

// answer is a segment that the server sent.
type answer struct {
	flags    uint8
	seq, ack uint32
	stamp    uint32 // its timestamp, 0 for none
	window   uint16
}

// answers takes what the server has sent to a client since.
func (l *wire) answers(to netip.AddrPort) (all []answer) {
	l.t.Helper()
	for {
		n, _, err := unix.Recvfrom(l.fd, l.buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return all
		}
		l.must(err)
		if a, ok := answerTo(to, l.buf[:n]); ok {
			all = append(all, a)
		}
	}
}

func answerTo(to netip.AddrPort, frame []byte) (a answer, ok bool) {
	if len(frame) < 54 {
		return a, false
	}
	ip, tcp, dst := frame[14:], []byte(nil), netip.Addr{}
	switch {
	case ip[0]>>4 == 4 && ip[9] == unix.IPPROTO_TCP:
		dst, tcp = netip.AddrFrom4([4]byte(ip[16:20])), ip[int(ip[0]&15)*4:]
	case ip[0]>>4 == 6 && ip[6] == unix.IPPROTO_TCP && len(ip) >= 60:
		dst, tcp = netip.AddrFrom16([16]byte(ip[24:40])), ip[40:]
	default:
		return a, false
	}
	if len(tcp) < 20 || dst != to.Addr() || binary.BigEndian.Uint16(tcp[2:]) != to.Port() {
		return a, false
	}
	a = answer{flags: tcp[13], seq: binary.BigEndian.Uint32(tcp[4:]), ack: binary.BigEndian.Uint32(tcp[8:]),
		window: binary.BigEndian.Uint16(tcp[14:])}
	for o := tcp[20:min(len(tcp), int(tcp[12]>>4)*4)]; len(o) > 0 && o[0] != packet.KindEOL; {
		if o[0] == packet.KindNOP {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			break
		}
		if o[0] == packet.KindTimestamps && o[1] == 10 {
			a.stamp = binary.BigEndian.Uint32(o[2:])
		}
		o = o[o[1]:]
	}
	return a, true
}
