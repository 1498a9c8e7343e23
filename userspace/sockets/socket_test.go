// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func port(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes a connection; on a listener for both families an IPv4 connection has an IPv6 socket.
func pair(t *testing.T, listen, dial string) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("tcp", net.JoinHostPort(dial, fmt.Sprint(port(l.Addr()).Port())))
	if err != nil {
		t.Skipf("left out: no connection to %s here: %v", dial, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestASocketIsFoundAndClosed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: closing sockets needs CAP_NET_ADMIN")
	}
	for name, at := range map[string][2]string{"IPv4": {"127.0.0.1:0", "127.0.0.1"}, "IPv6": {"[::1]:0", "::1"},
		"IPv4 on a socket of IPv6": {"[::]:0", "127.0.0.1"}} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t, at[0], at[1])
			local, remote := port(server.LocalAddr()), port(server.RemoteAddr())
			time.Sleep(50 * time.Millisecond)
			s, err := Find(local, remote)
			must(t, err)
			if s.Idle < 20*time.Millisecond || s.Idle > 10*time.Second {
				t.Errorf("it has been idle for %v, want about 50ms", s.Idle)
			}
			other := s
			other.id[40]++
			if err := other.Close(); !errors.Is(err, ErrNoSocket) {
				t.Errorf("a socket with another cookie: %v, want %v", err, ErrNoSocket)
			}
			must(t, s.Close())
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("its owner sees %v, want %v", err, unix.ECONNABORTED)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("its client sees %v, want %v", err, unix.ECONNRESET)
			}
			if err := s.Close(); !errors.Is(err, ErrNoSocket) {
				t.Errorf("again: %v, want %v", err, ErrNoSocket)
			}
		})
	}
}

// Where no connection is, the kernel answers with the listener.
func TestAListenerIsNoSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	if _, err := Find(port(l.Addr()), netip.MustParseAddrPort("127.0.0.1:9")); !errors.Is(err, ErrNoSocket) {
		t.Errorf("found %v, want %v", err, ErrNoSocket)
	}
}

func TestProbe(t *testing.T) {
	err := Probe()
	if os.Geteuid() == 0 && err != nil && !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if os.Geteuid() != 0 && err == nil {
		t.Error("closed without rights")
	}
}
