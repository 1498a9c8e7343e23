// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/plane"
)

const (
	webPort    = 443
	clientPort = 40000
	groups     = 60 // source prefixes of each family
)

// The two servers; all of their networks is local to the room.
var (
	server4 = netip.MustParseAddr("198.19.255.1")
	server6 = netip.MustParseAddr("2001:db8:ffff::1")
)

// request is a first payload.
var request = []byte("GET / HTTP/1.1\r\n\r\n")

// group is the n-th source prefix: /24 for even n, /48 for odd.
func group(n int) netip.Prefix {
	if n%2 == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(n), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(n)}), 48)
}

// source is one of two hosts of a prefix.
func source(n, host int) netip.Addr {
	a := group(n).Addr().Next()
	if host > 0 {
		a = a.Next()
	}
	return a
}

// room is a network namespace of the test's own, with a real connection from each source: the kernel finds its sockets
// when a frame of it comes from its thread. No program is attached.
type room struct {
	t     testing.TB
	work  chan func()
	conns map[netip.Addr]conn
}

// conn is a connection whose first payload is still to come, each time.
type conn struct{ seq, ack uint32 }

func enter(t testing.TB) *room {
	t.Helper()
	plane.Need(t)
	r := &room{t: t, work: make(chan func()), conns: map[netip.Addr]conn{}}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the room
		begun <- unix.Unshare(unix.CLONE_NEWNET)
		for do := range r.work {
			do()
		}
	}()
	t.Cleanup(func() { close(r.work) })
	err := <-begun
	if err == nil {
		r.do(func() { err = r.furnish() })
	}
	if err != nil {
		t.Fatalf("make a room: %v", err)
	}
	return r
}

// do does something on the room's thread.
func (r *room) do(what func()) {
	done := make(chan struct{})
	r.work <- func() { defer close(done); what() }
	<-done
}

// furnish makes the sources local, and connects from each.
func (r *room) furnish() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, all := range []string{"198.18.0.0/15", "2001:db8::/32"} {
		_, dst, _ := net.ParseCIDR(all)
		route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL,
			Scope: netlink.SCOPE_HOST}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("make %s local: %w", all, err)
		}
	}
	for _, server := range []netip.Addr{server4, server6} {
		config := net.ListenConfig{Control: free}
		config.SetMultipathTCP(false)
		l, err := config.Listen(context.Background(), "tcp", netip.AddrPortFrom(server, webPort).String())
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		r.t.Cleanup(func() { _ = l.Close() })
		for n := range groups {
			for host := range 2 {
				if src := source(n, host); src.Is4() == server.Is4() {
					if r.conns[src], err = r.connect(l.(*net.TCPListener), src, server); err != nil {
						return fmt.Errorf("connect from %s: %w", src, err)
					}
				}
			}
		}
	}
	return nil
}

// free lets a socket have an address that no interface has.
func free(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { // what one of the two families does not know the other does
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	})
}

func (r *room) connect(l *net.TCPListener, src, server netip.Addr) (k conn, err error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, clientPort)), Timeout: 30 * time.Second,
		Control: free}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(context.Background(), "tcp", netip.AddrPortFrom(server, webPort).String())
	if err != nil {
		return k, err
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = l.SetDeadline(time.Now().Add(30 * time.Second))
	s, err := l.AcceptTCP()
	if err != nil {
		return k, err
	}
	r.t.Cleanup(func() { _ = s.Close() })
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return k, err
	}
	failed := raw.Control(func(fd uintptr) { k, err = numbers(int(fd)) })
	return k, errors.Join(failed, err)
}

// numbers are what the client sends and acknowledges next (TCP_REPAIR, tcp(7) and linux/tcp.h).
func numbers(fd int) (k conn, err error) {
	const receive, send, offWithoutProbe = 1, 2, -1
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return k, err
	}
	for queue, to := range map[int]*uint32{receive: &k.ack, send: &k.seq} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, queue)
		}
		if err == nil {
			var n int
			n, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
			*to = uint32(n)
		}
	}
	if off := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, offWithoutProbe); err == nil {
		err = off
	}
	return k, err
}

// frame is a segment of a source's connection.
func (r *room) frame(src netip.Addr, flags uint8, payload []byte) []byte {
	k, dst := r.conns[src], server4
	if src.Is6() {
		dst = server6
	}
	return packet.Frame{Source: src, Dest: dst, Body: packet.TCP{SourcePort: clientPort, DestPort: webPort, Seq: k.seq,
		Ack: k.ack, Flags: flags, Window: 64240, Payload: payload}}.Bytes()
}
