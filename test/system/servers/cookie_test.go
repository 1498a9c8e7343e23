// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
)

// backlog is small, so that a few SYNs fill the queue.
const backlog = 4

// With SYN cookies no socket remembers the SYN: a visitor is served and was read, a listed bot is blocked, whether the
// kernel sends them always (2) or because the queue is full (1).
func TestCookies(t *testing.T) {
	s := newSite(t, 1)
	for _, p := range places {
		s.sysctl(p, "core/somaxconn", backlog)
	}
	s.serve(servers[0])
	bot, visitor := hello(t), hello(t, "http/1.1")
	s.publish(deny(t, bot))
	for _, value := range []int{1, 2} {
		for _, p := range places {
			s.sysctl(p, "ipv4/tcp_syncookies", value)
			for _, f := range families {
				t.Run(fmt.Sprintf("%d, %s, %s", value, p.name, f.name), func(t *testing.T) {
					for _, cut := range []int{0, 100} {
						if value == 1 {
							s.fill(p, f)
						}
						before := s.cookies(p)
						if err := s.visitor(p, servers[0], f, visitor[:cut], visitor[cut:]); err != nil {
							t.Error(err)
						}
						if err := s.bot(p, servers[0], f, bot[:cut], bot[cut:]); err != nil {
							t.Error(err)
						}
						if n := s.cookies(p) - before; n != 2 {
							t.Errorf("%d of 2 connections began with a cookie", n)
						}
					}
				})
			}
		}
	}
}

// sysctl sets a value in the place's namespace.
func (s *site) sysctl(p place, name string, value int) {
	s.t.Helper()
	world.Must(s.t, s.namespace(p).Do(func() error {
		return os.WriteFile("/proc/sys/net/"+name, fmt.Appendln(nil, value), 0o644)
	}))
}

// fill leaves as many half-open connections behind as the listener takes, and more: nobody answers for their addresses.
func (s *site) fill(p place, f family) {
	s.t.Helper()
	for i := range uint16(2 * backlog) {
		frame := packet.Frame{Source: f.stranger(), Dest: f.edge,
			Body: packet.TCP{SourcePort: 2000 + i, DestPort: p.port(servers[0].port),
				Seq: 1, Flags: packet.SYN, Window: 64240}}.Bytes()
		copy(frame, s.EdgeMAC)
		copy(frame[6:], s.OutMAC)
		world.Must(s.t, s.SendFrame(frame))
	}
}

// cookies is how many connections of the place's namespace began with a cookie that came back.
func (s *site) cookies(p place) (n int) {
	s.t.Helper()
	world.Must(s.t, s.namespace(p).Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		lines := strings.SplitN(string(text), "\n", 3)
		names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
		for i, name := range names {
			if name == "SyncookiesRecv" {
				n, err = strconv.Atoi(values[i])
			}
		}
		return err
	}))
	return n
}
