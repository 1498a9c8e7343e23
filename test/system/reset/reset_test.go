// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
)

// forgotten is how long the server may know of a connection that was reset.
const forgotten = 2 * time.Second

// attempt is a kind of bot: what it sends at once, and by which bundle it is known from then on. A SYN that a bundle
// blocks is dropped, so bots that are known by their address connect before it counts.
type attempt struct {
	name   string
	port   uint16
	sends  []byte
	bundle *config.Bundle
	late   bool
}

func attempts(t *testing.T) []attempt {
	t.Helper()
	one, two := hello(t, tls.X25519), hello(t)
	if len(one) > 1200 || len(two) < 1460 {
		t.Fatalf("hellos of %d and %d bytes do not take one and two segments", len(one), len(two))
	}
	return []attempt{
		{"tls", 443, one, denyHello(t, one), false},
		{"tls in two segments", 443, two, denyHello(t, two), false},
		{"tls by address", 443, one, denyBots(), true},
		{"http", 80, []byte(request), denyBots(), true},
	}
}

// eachWay runs a test with SYN cookies never, when needed and always, over both families, with every kind of bot.
func eachWay(t *testing.T, s *site, test func(t *testing.T, f family, a attempt)) {
	t.Helper()
	for _, a := range attempts(t) {
		for _, f := range families {
			for cookies := range 3 {
				t.Run(fmt.Sprintf("%s/%s/syncookies %d", a.name, f.name, cookies), func(t *testing.T) {
					outer := s.t
					s.t = t
					defer func() { s.t = outer }()
					s.cookies(cookies)
					s.publish(nothing())
					test(t, f, a)
				})
			}
		}
	}
}

// connect opens connections of n bots, and has them known.
func (s *site) connect(f family, a attempt, n int) (bots []*net.TCPConn) {
	s.t.Helper()
	if !a.late {
		s.publish(a.bundle)
	}
	for i := range n {
		c, err := s.dial(f.bot(i), f.server, a.port)
		world.Must(s.t, err)
		s.t.Cleanup(func() { _ = c.SetLinger(0); _ = c.Close() })
		bots = append(bots, c)
	}
	if a.late {
		s.publish(a.bundle)
	}
	return bots
}

func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }

// wantForgotten waits until the server has no socket for a client.
func (s *site) wantForgotten(client netip.AddrPort, since time.Time) {
	s.t.Helper()
	for {
		states := s.sockets(client)
		if len(states) == 0 {
			return
		}
		if time.Since(since) > forgotten {
			s.t.Fatalf("%v after the first payload the server still has sockets for %s, in the states %v",
				time.Since(since), client, states)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// wantAccepted checks how many connections nginx has accepted since it had accepted so many.
func (s *site) wantAccepted(before, want uint64) {
	s.t.Helper()
	world.Eventually(s.t, "nginx accepts", func() bool { return s.accepted()-before >= want })
	if got := s.accepted() - before; got != want {
		s.t.Errorf("nginx accepted %d connections, want %d", got, want)
	}
}

// A bot's first payload frees the server's socket at once; what the bot sends again tells it that it was reset; nginx
// saw one connection of it. A visitor is served before, between and after.
func TestBotIsResetOnBothSides(t *testing.T) {
	s := newSite(t)
	eachWay(t, s, func(t *testing.T, f family, a attempt) {
		before, resets := s.accepted(), s.resets()
		bot := s.connect(f, a, 1)[0]
		s.wantAccepted(before, 1)
		since := time.Now()
		_, err := bot.Write(a.sends)
		world.Must(t, err)
		s.wantForgotten(local(bot), since)
		world.Must(t, s.visit(f))
		if err := ended(bot); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the bot sees %v, want %v", err, unix.ECONNRESET)
		}
		if n := s.resets() - resets; n < 2 {
			t.Errorf("%d packets were reset, want the first payload and what came again", n)
		}
		world.Must(t, s.visit(f))
		s.wantAccepted(before, 3)
		if states := s.sockets(local(bot)); len(states) > 0 {
			t.Errorf("the server has sockets in the states %v again", states)
		}
	})
}

// A bot that overlooks every RST sends again and again, and never becomes a connection: also behind SYN cookies, whose
// number would be good for one. All kinds of bots at once, because a change of the bundle would have them judged again.
func TestRetransmissionsAreNeverAccepted(t *testing.T) {
	s := newSite(t)
	known := resetting(func(b *config.Bundle) {
		b.JA4 = denyHello(t, hello(t)).JA4 // that in one segment has the same: curves do not count
		b.Prefixes = denyBots().Prefixes
	})
	for cookies := range 3 {
		t.Run(fmt.Sprintf("syncookies %d", cookies), func(t *testing.T) {
			outer := s.t
			s.t = t
			defer func() { s.t = outer }()
			s.cookies(cookies)
			s.publish(nothing())
			before := s.accepted()
			bots := map[string]*net.TCPConn{}
			for _, f := range families {
				for i, a := range attempts(t) {
					c, err := s.dial(f.bot(i), f.server, a.port)
					world.Must(t, err)
					t.Cleanup(func() { _ = c.SetLinger(0); _ = c.Close() })
					world.Must(t, deafen(c))
					bots[f.name+", "+a.name] = c
				}
			}
			s.wantAccepted(before, uint64(len(bots)))
			s.publish(known)
			for _, f := range families {
				for _, a := range attempts(t) {
					bot, since := bots[f.name+", "+a.name], time.Now()
					_, err := bot.Write(a.sends)
					world.Must(t, err)
					s.wantForgotten(local(bot), since)
				}
			}
			resets := s.resets()
			for name, bot := range bots {
				world.Eventually(t, name+": four retransmissions", func() bool { return retransmissions(t, bot) >= 4 })
				if states := s.sockets(local(bot)); len(states) > 0 {
					t.Errorf("%s: after its retransmissions the server has sockets in the states %v", name, states)
				}
			}
			if n := s.resets() - resets; n < 2*uint64(len(bots)) {
				t.Errorf("%d retransmissions were answered, of %d bots", n, len(bots))
			}
			s.wantAccepted(before, uint64(len(bots)))
		})
	}
}

// Twenty bots at once, and a visitor in their midst.
func TestTwentyBotsAtOnce(t *testing.T) {
	s := newSite(t)
	eachWay(t, s, func(t *testing.T, f family, a attempt) {
		before := s.accepted()
		bots := s.connect(f, a, 20)
		s.wantAccepted(before, uint64(len(bots)))
		since := time.Now()
		var wg sync.WaitGroup
		for _, bot := range bots {
			wg.Go(func() {
				if _, err := bot.Write(a.sends); err != nil {
					t.Errorf("%s: %v", local(bot), err)
				}
				if err := ended(bot); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("%s sees %v, want %v", local(bot), err, unix.ECONNRESET)
				}
			})
		}
		world.Must(t, s.visit(f))
		for _, bot := range bots {
			s.wantForgotten(local(bot), since)
		}
		wg.Wait()
		s.wantAccepted(before, uint64(len(bots))+1)
	})
}
