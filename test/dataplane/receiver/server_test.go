// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/world"
)

// server is an application of the edge that takes every connection and reads what comes, and says nothing.
type server struct {
	t         testing.TB
	w         *world.World
	listeners []int
	lives     []*life
	cookies   int
	buf       []byte
}

// life is one connection as the application had it. Where SYN cookies are on, one client can have several.
type life struct {
	fd     int
	from   netip.AddrPort
	served []byte // what the application read
	ended  error  // why it reads no more; nil while it can
}

var errEOF = errors.New("end of stream")

func newServer(t testing.TB, w *world.World, ports ...uint16) *server {
	t.Helper()
	s := &server{t: t, w: w, cookies: -1, buf: make([]byte, 1<<17)}
	for _, port := range ports {
		var fd int
		err := w.Edge.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0),
				unix.Bind(fd, &unix.SockaddrInet6{Port: int(port)}), unix.Listen(fd, 1024))
		})
		if err != nil {
			t.Fatalf("listen on port %d: %v", port, err)
		}
		s.listeners = append(s.listeners, fd)
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return s
}

// setCookies sets net.ipv4.tcp_syncookies, which holds for IPv6 too: 0 never, 1 when the queue is full, 2 always.
func (s *server) setCookies(value int) {
	s.t.Helper()
	if s.cookies == value {
		return
	}
	s.cookies = value
	if err := s.w.Edge.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", fmt.Appendln(nil, value), 0o644)
	}); err != nil {
		s.t.Fatal(err)
	}
}

// accept takes the connections that have come.
func (s *server) accept() {
	s.t.Helper()
	for _, l := range s.listeners {
		for {
			fd, from, err := unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				if errors.Is(err, unix.ECONNABORTED) {
					continue
				}
				s.t.Fatalf("accept: %v", err)
			}
			a := from.(*unix.SockaddrInet6)
			s.lives = append(s.lives, &life{fd: fd, from: netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))})
		}
	}
}

// read takes what the connections have for the application.
func (s *server) read() {
	s.t.Helper()
	for _, l := range s.lives {
		for l.ended == nil {
			n, err := unix.Read(l.fd, s.buf)
			switch {
			case errors.Is(err, unix.EAGAIN):
			case err != nil:
				l.ended = err
			case n == 0:
				l.ended = errEOF
			default:
				l.served = append(l.served, s.buf[:n]...)
				continue
			}
			break
		}
	}
}

// forget ends all connections, by RST where one still lives, and returns them.
func (s *server) forget() []*life {
	s.t.Helper()
	s.accept()
	s.read()
	lives := s.lives
	s.lives = nil
	for _, l := range lives {
		_ = unix.SetsockoptLinger(l.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(l.fd)
	}
	return lives
}
