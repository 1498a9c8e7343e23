// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

var (
	deniedPrefix = netip.MustParsePrefix("203.0.113.0/24")
	bannedPrefix = netip.MustParsePrefix("198.51.100.128/25")

	denied = netip.MustParseAddrPort("203.0.113.9:40000")
	banned = netip.MustParseAddrPort("198.51.100.200:40000")
	// blocked is a connection whose stored verdict is drop.
	blocked  = netip.MustParseAddrPort("198.51.100.21:40000")
	visitor6 = netip.MustParseAddrPort("[2001:db8::20]:40000")
	service6 = netip.MustParseAddrPort("[2001:db8::1]:443")
)

const benchBan = time.Hour

func flowKey(src, dst netip.AddrPort) bpf.FlowKey {
	s := step(netip.AddrPortFrom(netip.IPv4Unspecified(), src.Port()), 0)
	d := step(netip.AddrPortFrom(netip.IPv4Unspecified(), dst.Port()), 0)
	return bpf.FlowKey{Saddr: words(src.Addr()), Daddr: words(dst.Addr()), Sport: s.Sport, Dport: d.Sport}
}

// words returns an address as the dataplane keeps it, IPv4 as ::ffff:a.b.c.d.
func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = step(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4*i:4*i+4])), 0), 0).Saddr
	}
	return w
}

// storedFlow is what the dataplane keeps of a connection that it has judged.
func (p *plane) storedFlow(verdict bpf.Verdict) bpf.Flow {
	c := p.Control()
	return bpf.Flow{
		ExpiresNs: bpf.Never, Epoch: c.Epoch, Isn: 1, Generation: 1, Slot: c.Stable, Verdict: uint8(verdict),
		Flags: uint8(bpf.FlowConfirmed | bpf.FlowFirstPayload), Reason: uint8(bpf.ReasonPrefix),
	}
}

// fillFlows writes established connections into the planes and, the same, into the comparison's tables: the hot ones
// where they are alone, the random ones where they are many.
func (r *rig) fillFlows(sources []netip.AddrPort) error {
	hot, base := r.planes["hot"], r.planes["base"]
	pass, drop := hot.storedFlow(bpf.VerdictPass), hot.storedFlow(bpf.VerdictDrop)
	ended, done := r.connections[0], pass
	done.Isn, done.Hint = ended.isn, uint8(bpf.HintEnd) // a FIN came, its own or another's
	err := hot.fill([]bpf.FlowKey{flowKey(visitor, service), flowKey(visitor6, service6), flowKey(blocked, service),
		flowKey(ended.client, loopback)}, []bpf.Flow{pass, pass, drop, done}, r.hot.SameFlows)
	if err != nil {
		return err
	}
	pass, drop = base.storedFlow(bpf.VerdictPass), base.storedFlow(bpf.VerdictDrop)
	var keys []bpf.FlowKey
	var values []bpf.Flow
	for _, src := range sources {
		keys = append(keys, flowKey(src, service), flowKey(src, blockedService))
		values = append(values, pass, drop)
	}
	return base.fill(keys, values, r.compare.SameFlows)
}

// fill writes connections into the plane, and into tables like its own.
func (p *plane) fill(keys []bpf.FlowKey, values []bpf.Flow, too ...*ebpf.Map) error {
	names := make([]bpf.FlowName, len(keys))
	for i, k := range keys {
		names[i] = p.NameOf(k)
		values[i].Saddr, values[i].Daddr = k.Saddr, k.Daddr
	}
	for _, m := range append(too, p.flows) {
		if _, err := m.BatchUpdate(names, values, nil); err != nil {
			return fmt.Errorf("fill a table of flows: %w", err)
		}
	}
	return nil
}

// blockedService is the second service of the bench host; every random connection to it is blocked.
var blockedService = netip.MustParseAddrPort("192.0.2.1:80")

// loopback is where the real connections of the bench end.
var loopback = netip.MustParseAddrPort("127.0.0.1:443")

// connect opens real connections inside the calling thread's network namespace. Nothing was sent over them: the next
// byte of each is its first payload.
func (r *rig) connect(n int) error {
	listener, err := net.Listen("tcp4", loopback.String())
	if err != nil {
		return fmt.Errorf("listen for connections of the bench: %w", err)
	}
	r.closers = append(r.closers, listener.Close)
	for range n {
		client, err := net.Dial("tcp4", loopback.String())
		if err != nil {
			return fmt.Errorf("connect inside the bench: %w", err)
		}
		r.closers = append(r.closers, client.Close)
		server, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept inside the bench: %w", err)
		}
		r.closers = append(r.closers, server.Close)
		seq, ack, err := numbers(client.(*net.TCPConn))
		if err != nil {
			return err
		}
		r.connections = append(r.connections, connection{client.LocalAddr().(*net.TCPAddr).AddrPort(), seq - 1, ack})
	}
	return nil
}

// connection is a real one.
type connection struct {
	client netip.AddrPort
	isn    uint32 // the client's
	ack    uint32 // what the server sends next
}

// payload is a part of the connection's stream, as its server takes it.
func (c connection) payload(stream []byte, from, to int) []byte {
	return segment(c.client, loopback, func(t *packet.TCP) {
		t.Flags, t.Seq, t.Ack, t.Options, t.Payload = packet.ACK|packet.PSH, c.isn+1+uint32(from), c.ack, nil, stream[from:to]
	})
}

// numbers reads what a client that has sent nothing sends next, and what its server does, by way of TCP_REPAIR (Linux,
// Documentation of CRIU).
func numbers(c *net.TCPConn) (seq, ack uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	const (
		repairOn, repairOffQuietly = 1, -1 // TCP_REPAIR_OFF_NO_WP: no window probe afterwards
		receiveQueue, sendQueue    = 1, 2
	)
	set := func(fd uintptr, option, value int) error {
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
	}
	ask := func(fd uintptr, queue int) (uint32, error) {
		if err := set(fd, unix.TCP_REPAIR_QUEUE, queue); err != nil {
			return 0, err
		}
		next, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		return uint32(next), err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		if inner = set(fd, unix.TCP_REPAIR, repairOn); inner != nil {
			return
		}
		var errs [2]error
		seq, errs[0] = ask(fd, sendQueue)
		ack, errs[1] = ask(fd, receiveQueue)
		inner = errors.Join(errs[0], errs[1], set(fd, unix.TCP_REPAIR, repairOffQuietly))
	})
	if err = errors.Join(err, inner); err != nil {
		return 0, 0, fmt.Errorf("read the sequence numbers of a connection: %w", err)
	}
	return seq, ack, nil
}
