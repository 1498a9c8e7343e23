// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// fastOpening makes a listener take data that comes with a SYN.
func fastOpening(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16)
	}), err)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// fastOpen connects from src to web with data in the SYN, and captures the handshake.
func (r *room) fastOpen(src netip.Addr, data []byte) *conn {
	r.t.Helper()
	family := unix.AF_INET6
	if src.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(src, clientPort))); err != nil {
		r.t.Fatalf("bind: %v", err)
	}
	if err := unix.Sendto(fd, data, unix.MSG_FASTOPEN, sockaddr(netip.AddrPortFrom(r.f.server, webPort))); err != nil {
		r.t.Fatalf("connect with data: %v", err)
	}
	k := &conn{r: r, src: src}
	k.handshake()
	return k
}
