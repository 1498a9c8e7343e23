// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
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
		Flags: uint8(bpf.DataplaneFlowFlagsFLOW_CONFIRMED | bpf.DataplaneFlowFlagsFLOW_FIRST_PAYLOAD),
	}
}

// fillFlows writes established connections into the planes and, the same, into the comparison's tables: the hot ones
// where they are alone, the random ones where they are many.
func (r *rig) fillFlows(sources []netip.AddrPort) error {
	hot, base := r.planes["hot"], r.planes["base"]
	pass, drop := hot.storedFlow(bpf.DataplaneVerdictVERDICT_PASS), hot.storedFlow(bpf.DataplaneVerdictVERDICT_DROP)
	err := fill([]*ebpf.Map{hot.flows, r.hot.SameFlows},
		[]bpf.FlowKey{flowKey(visitor, service), flowKey(visitor6, service6), flowKey(blocked, service)},
		[]bpf.Flow{pass, pass, drop})
	if err != nil {
		return err
	}
	pass, drop = base.storedFlow(bpf.DataplaneVerdictVERDICT_PASS), base.storedFlow(bpf.DataplaneVerdictVERDICT_DROP)
	var keys []bpf.FlowKey
	var values []bpf.Flow
	for _, src := range sources {
		keys = append(keys, flowKey(src, service), flowKey(src, blockedService))
		values = append(values, pass, drop)
	}
	return fill([]*ebpf.Map{base.flows, r.compare.SameFlows}, keys, values)
}

func fill(tables []*ebpf.Map, keys []bpf.FlowKey, values []bpf.Flow) error {
	for _, m := range tables {
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("fill a table of flows: %w", err)
		}
	}
	return nil
}

// blockedService is the second service of the bench host; every random connection to it is blocked.
var blockedService = netip.MustParseAddrPort("192.0.2.1:80")

// loopback is where the real connections of the bench end.
var loopback = netip.MustParseAddrPort("127.0.0.1:443")

// connect opens n real connections inside the calling thread's network namespace, and returns their clients' initial
// sequence numbers and addresses. Nothing was sent over them: the next byte of each is its first payload.
func (r *rig) connect(n int) (isns []uint32, clients []netip.AddrPort, err error) {
	listener, err := net.Listen("tcp4", loopback.String())
	if err != nil {
		return nil, nil, fmt.Errorf("listen for connections of the bench: %w", err)
	}
	r.closers = append(r.closers, listener.Close)
	for range n {
		client, err := net.Dial("tcp4", loopback.String())
		if err != nil {
			return nil, nil, fmt.Errorf("connect inside the bench: %w", err)
		}
		r.closers = append(r.closers, client.Close)
		server, err := listener.Accept()
		if err != nil {
			return nil, nil, fmt.Errorf("accept inside the bench: %w", err)
		}
		r.closers = append(r.closers, server.Close)
		isn, err := initialSequence(client.(*net.TCPConn))
		if err != nil {
			return nil, nil, err
		}
		isns = append(isns, isn)
		clients = append(clients, client.LocalAddr().(*net.TCPAddr).AddrPort())
	}
	return isns, clients, nil
}

// initialSequence reads the ISN of a connection that has sent nothing, by way of TCP_REPAIR (Linux,
// Documentation of CRIU): one less than the next sequence number of its send queue.
func initialSequence(c *net.TCPConn) (isn uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	const (
		repairOn, repairOffQuietly = 1, -1 // TCP_REPAIR_OFF_NO_WP: no window probe afterwards
		sendQueue                  = 2
	)
	var inner error
	err = raw.Control(func(fd uintptr) {
		if inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, repairOn); inner != nil {
			return
		}
		if inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, sendQueue); inner != nil {
			return
		}
		var next int
		if next, inner = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ); inner != nil {
			return
		}
		isn = uint32(next) - 1
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, repairOffQuietly)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return 0, fmt.Errorf("read the sequence number of a connection: %w", err)
	}
	return isn, nil
}
