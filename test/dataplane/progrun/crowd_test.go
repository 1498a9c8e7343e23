// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settle makes the whole of the family's groups local to the room, so that connections can come from any of them.
func (r *room) settle() {
	r.t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		r.t.Fatal(err)
	}
	all := &net.IPNet{IP: net.IPv4(198, 18, 0, 0), Mask: net.CIDRMask(15, 32)}
	if r.f.visitor.Is6() {
		all = &net.IPNet{IP: net.ParseIP("2001:db8::"), Mask: net.CIDRMask(32, 128)}
	}
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL,
		Scope: netlink.SCOPE_HOST}
	if err := netlink.RouteReplace(route); err != nil {
		r.t.Fatalf("make %s local: %v", all, err)
	}
}

// free lets a socket have an address that no interface has.
func free(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { // what one of the two families does not know the other does
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	})
}

// lockIn has the calling goroutine's thread live in a network namespace, and die with the goroutine.
func lockIn(t *testing.T, namespace int) {
	runtime.LockOSThread()
	if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
		t.Errorf("enter the room: %v", err)
	}
}

// crowd connects from the first host of each group and returns the connections: their first payloads are still to come.
func (r *room) crowd(l *net.TCPListener, sources ...netip.Addr) []*conn {
	r.t.Helper()
	var all []*conn
	for _, src := range sources {
		all = append(all, r.connectFree(l, src))
	}
	return all
}

func (r *room) connectFree(l *net.TCPListener, src netip.Addr) *conn {
	r.t.Helper()
	from := netip.AddrPortFrom(src, clientPort)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: 10 * time.Second, Control: free}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(context.Background(), "tcp", netip.AddrPortFrom(r.f.server, webPort).String())
	if err != nil {
		r.t.Fatalf("connect from %s: %v", from, err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	k := &conn{r: r, src: src, client: c.(*net.TCPConn)}
	k.handshake()
	_ = l.SetDeadline(time.Now().Add(10 * time.Second))
	if k.server, err = l.AcceptTCP(); err != nil {
		r.t.Fatalf("accept: %v", err)
	}
	r.t.Cleanup(func() { _ = k.server.Close() })
	return k
}

// first returns the frame of the connection's first payload. The server never gets it, so it is the first each time.
func (k *conn) first() []byte { return k.at(0, request).Bytes() }

// sources returns the first host of groups [from, to).
func (f family) sources(from, to int) []netip.Addr {
	var all []netip.Addr
	for n := from; n < to; n++ {
		all = append(all, f.group(n).Addr().Next())
	}
	return all
}
