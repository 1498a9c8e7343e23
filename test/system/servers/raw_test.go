// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
)

// wire is who plays clients whose addresses no kernel has: it sends frames, and hears what comes back.
type wire struct {
	s      *site
	mu     sync.Mutex // guards ears
	ears   map[netip.AddrPort]chan answer
	nextly uint16

	unsteady atomic.Int32 // cells that failed once, and not again
}

// answer is a segment that a server sent.
type answer struct {
	flags    uint8
	seq, ack uint32
	stamp    uint32 // of its timestamp
	data     []byte
}

func (s *site) newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{s: s, ears: map[netip.AddrPort]chan answer{}, nextly: 20000}
	c, err := s.CaptureOut(func(frame []byte) bool { w.hear(frame); return false })
	world.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return w
}

func (w *wire) hear(frame []byte) {
	to, a, ok := answerIn(frame)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.ears[to] <- a: // nil where nobody listens
	default:
	}
}

func answerIn(frame []byte) (to netip.AddrPort, a answer, ok bool) {
	var dst netip.Addr
	var tcp []byte
	switch ip := frame[min(len(frame), packet.EthernetLen):]; {
	case len(ip) >= packet.IPv4Len+packet.TCPLen && ip[0]>>4 == 4 && ip[9] == packet.ProtoTCP:
		dst, tcp = netip.AddrFrom4([4]byte(ip[16:20])), ip[int(ip[0]&15)*4:binary.BigEndian.Uint16(ip[2:])]
	case len(ip) >= packet.IPv6Len+packet.TCPLen && ip[0]>>4 == 6 && ip[6] == packet.ProtoTCP:
		dst, tcp = netip.AddrFrom16([16]byte(ip[24:40])), ip[packet.IPv6Len:][:binary.BigEndian.Uint16(ip[4:])]
	default:
		return to, a, false
	}
	at := int(tcp[12]>>4) * 4
	a = answer{flags: tcp[13], seq: binary.BigEndian.Uint32(tcp[4:]), ack: binary.BigEndian.Uint32(tcp[8:]),
		data: append([]byte(nil), tcp[at:]...)}
	for o := tcp[packet.TCPLen:at]; len(o) >= 10; o = o[1:] { // timestamps are the only ones that begin so
		if o[0] == packet.KindTimestamps && o[1] == 10 {
			a.stamp = binary.BigEndian.Uint32(o[2:])
			break
		}
	}
	return netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])), a, true
}

// clock is what the clients' timestamps begin with.
const clock = 1 << 20

// raw is a connection of such a client.
type raw struct {
	w        *wire
	from, to netip.AddrPort
	isn, ack uint32
	stamp    uint32 // the server's
	now      uint32 // its own
	ear      chan answer
	stream   []byte
}

// dial opens a connection from a port of its own, or from the same one again.
func (w *wire) dial(p place, v server, f family, stream []byte) (*raw, error) {
	w.mu.Lock()
	w.nextly++
	r := &raw{w: w, from: netip.AddrPortFrom(f.stranger(), w.nextly), to: netip.AddrPortFrom(f.edge, p.port(v.port)),
		isn: 1 << 30, now: clock,
		ear: make(chan answer, 64), stream: stream}
	w.ears[r.from] = r.ear
	w.mu.Unlock()
	return r, r.connect()
}

func (r *raw) connect() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		r.send(packet.TCP{Seq: r.isn, Flags: packet.SYN,
			Options: packet.Options(packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(r.now, 0))})
		for a, ok := r.next(time.Second); ok; a, ok = r.next(time.Second) {
			if a.flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK && a.ack == r.isn+1 {
				r.ack, r.stamp = a.seq+1, a.stamp
				r.send(r.segment(0, nil))
				return nil
			}
		}
	}
	return errors.New("its SYN is not answered")
}

func (r *raw) next(wait time.Duration) (a answer, ok bool) {
	select {
	case a = <-r.ear:
		return a, true
	case <-time.After(wait):
		return a, false
	}
}

// segment is what carries these bytes at this place of the stream.
func (r *raw) segment(at int, data []byte) packet.TCP {
	return packet.TCP{Seq: r.isn + 1 + uint32(at), Ack: r.ack, Flags: packet.ACK | packet.PSH, Payload: data,
		Options: packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(r.now, r.stamp))}
}

// part is the segment of the stream's bytes from one place to another.
func (r *raw) part(from, to int) packet.TCP { return r.segment(from, r.stream[from:to]) }

func (r *raw) send(tcp packet.TCP) { r.sendAs(packet.Frame{}, tcp) }

func (r *raw) sendAs(frame packet.Frame, tcp packet.TCP) {
	tcp.SourcePort, tcp.DestPort, tcp.Window = r.from.Port(), r.to.Port(), 64240
	frame.Source, frame.Dest, frame.Body = r.from.Addr(), r.to.Addr(), tcp
	r.put(frame)
}

func (r *raw) put(frame packet.Frame) {
	b := frame.Bytes()
	copy(b, r.w.s.EdgeMAC)
	copy(b[6:], r.w.s.OutMAC)
	if err := r.w.s.SendFrame(b); err != nil {
		r.w.s.t.Error(err)
	}
}

// flow is what the dataplane keeps of it.
func (r *raw) flow() string { return readOf(r.w.s.flow(r.from, r.to)) }

// isServed waits for the server's first data: a ServerHello, or something else.
func (r *raw) isServed() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		a, ok := r.next(100 * time.Millisecond)
		flow, _ := r.w.s.flow(r.from, r.to)
		switch {
		case !ok && flow.Verdict == verdictDrop:
			return errors.New("it is blocked")
		case ok && len(a.data) > 5 && a.data[0] == 22 && a.data[5] == 2:
			return nil
		case ok && (len(a.data) > 0 || a.flags&(packet.RST|packet.FIN) != 0):
			return fmt.Errorf("the server says %x, flags %02x", a.data[:min(16, len(a.data))], a.flags)
		}
	}
	return errSilent
}

func (r *raw) isBlocked() error {
	answered := ""
	if !until(func() bool {
		for len(r.ear) > 0 {
			if a := <-r.ear; len(a.data) > 0 {
				answered = fmt.Sprintf("%x", a.data[:min(16, len(a.data))])
			}
		}
		flow, ok := r.w.s.flow(r.from, r.to)
		return answered != "" || ok && flow.Isn == r.isn && flow.Verdict == verdictDrop && flow.Flags&confirmed != 0
	}) || answered != "" {
		return fmt.Errorf("the bot is not blocked: %s %s", r.flow(), answered)
	}
	return nil
}

// close frees the server's socket.
func (r *raw) close(p place, v server, f family) error {
	r.w.mu.Lock()
	delete(r.w.ears, r.from)
	r.w.mu.Unlock()
	r.send(packet.TCP{Seq: r.isn + 1 + uint32(len(r.stream)), Ack: r.ack, Flags: packet.RST | packet.ACK})
	return r.w.s.abort(p, v, f, r.from)
}
