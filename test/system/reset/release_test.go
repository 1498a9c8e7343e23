// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
)

// released is how long the server may know of a blocked connection that its client has closed: its FIN frees the socket
// at once, or what the client sends again does, which takes as long as the round trip of a busy machine makes it.
// Silent ones are closed after fifteen seconds, but nobody does that here.
const released = 10 * time.Second

// dropping is denyHello, with the verdict drop.
func dropping(t *testing.T, stream []byte) *config.Bundle {
	t.Helper()
	b := denyHello(t, stream)
	b.Policy[config.DefaultPolicy] = config.Policy{Drop: 80}
	return b
}

// bake says that the stable generation is last-known-good, as the agent does after its bake.
func (s *site) bake() {
	s.t.Helper()
	all, err := s.Dataplane.Generations()
	world.Must(s.t, err)
	for _, g := range all {
		if g.Slot == s.Dataplane.Control().Stable {
			s.Dataplane.SetBaked(g.Number)
		}
	}
}

// held is how many sockets the edge has for clients from a prefix, those without an owner left out.
func (s *site) held(p netip.Prefix, port uint16) (n int) {
	s.t.Helper()
	world.Must(s.t, s.Edge.Do(func() error {
		n = heldHere(p, port)
		return nil
	}))
	return n
}

func heldHere(p netip.Prefix, port uint16) (n int) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.SocketDiagTCP(family)
		if err != nil {
			continue
		}
		for _, sk := range all {
			a, _ := netip.AddrFromSlice(sk.ID.Destination)
			if p.Contains(a.Unmap()) && (port == 0 || sk.ID.DestinationPort == port) && sk.State == netlink.TCP_ESTABLISHED {
				n++
			}
		}
	}
	return n
}

// flood opens n connections, sends on each and closes it where closes says so.
func (s *site) flood(f family, n int, port uint16, sends []byte, closes bool) []*net.TCPConn {
	s.t.Helper()
	conns := make([]*net.TCPConn, n)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				c, err := s.dial(f.bot(i), f.server, port)
				if err != nil {
					s.t.Errorf("bot %d: %v", i, err)
					return
				}
				if _, err := c.Write(sends); err != nil {
					s.t.Errorf("bot %d: %v", i, err)
				}
				if closes {
					_ = c.Close()
				}
				conns[i] = c
			}
		})
	}
	wg.Wait()
	return conns
}

func (s *site) fins() uint64 {
	s.t.Helper()
	n, err := s.Dataplane.Released()
	world.Must(s.t, err)
	return n
}

// Five hundred blocked bots close their connections to nginx, and as many to a Go server: all sockets are gone. A
// visitor is served in their midst.
func TestFINOfABlockedConnectionReleasesTheSocket(t *testing.T) {
	s := newSite(t)
	s.serveGo(8443)
	for _, f := range families {
		for name, sends := range map[string][]byte{"one segment": hello(t, tls.X25519), "two segments": hello(t)} {
			for server, port := range map[string]uint16{"nginx": 443, "Go": 8443} {
				t.Run(fmt.Sprintf("%s/%s/%s", f.name, server, name), func(t *testing.T) {
					outer := s.t
					s.t = t
					defer func() { s.t = outer }()
					s.publish(dropping(t, sends))
					s.bake()
					before := s.fins()
					s.flood(f, 500, port, sends, true)
					since := time.Now()
					for n := s.held(f.bots, 0); n > 0; n = s.held(f.bots, 0) {
						if time.Since(since) > released {
							t.Fatalf("%v after the last close the server still holds %d sockets", time.Since(since), n)
						}
						time.Sleep(10 * time.Millisecond)
					}
					t.Logf("none is left %v after the last close", time.Since(since))
					if n := s.fins() - before; n < 450 {
						t.Errorf("%d sockets were released by a FIN, want about 500", n)
					}
					world.Must(t, s.visit(f))
				})
			}
		}
	}
}

// Where a mistake can still heal, or nobody is blocked, the FIN does nothing: in observe mode it reaches the server as
// it is.
func TestFINReleasesNothing(t *testing.T) {
	s := newSite(t)
	f, sends := families[0], hello(t, tls.X25519)
	bundle := dropping(t, sends)
	enter := map[string]func(){
		"in a bake": func() { s.publish(bundle) },
		"another generation has baked": func() {
			s.publish(bundle)
			s.bake()
			s.publish(bundle)
		},
		"for a candidate": func() {
			s.publish(nothing())
			s.bake()
			s.candidate(bundle)
		},
	}
	for name, set := range enter {
		set()
		before := s.fins()
		s.flood(f, 5, 443, sends, true)
		time.Sleep(300 * time.Millisecond)
		if n := s.held(f.bots, 0); n != 5 {
			t.Errorf("%s: the server holds %d of 5 sockets", name, n)
		}
		if n := s.fins() - before; n != 0 {
			t.Errorf("%s: %d sockets were released", name, n)
		}
		_, _ = s.Dataplane.Withdraw()
		s.publish(bundle) // what comes again is judged again, and its FIN released
		s.bake()
		world.Eventually(t, name+": released when it is over", func() bool { return s.held(f.bots, 0) == 0 })
	}
	observe := *s.Host
	observe.MaxMode = config.ModeObserve
	s.Publish(&observe, bundle)
	s.bake()
	before := s.fins()
	c, err := s.dial(f.bot(1), f.server, 443)
	world.Must(t, err)
	world.Must(t, get(c))
	_ = c.Close()
	if n := s.fins() - before; n != 0 {
		t.Errorf("in observe mode %d sockets were released", n)
	}
}

// The next user of a blocked connection's address and port is served, and nothing of theirs is released.
func TestReleaseSparesTheNextUser(t *testing.T) {
	s := newSite(t)
	for _, f := range families {
		sends := hello(t, tls.X25519)
		s.publish(dropping(t, sends))
		s.bake()
		bot := s.flood(f, 1, 443, sends, false)[0]
		from := local(bot)
		world.Must(t, bot.CloseWrite())
		world.Eventually(t, "the FIN releases", func() bool { return s.held(f.bots, from.Port()) == 0 })
		_ = bot.SetLinger(0)
		_ = bot.Close()
		before := s.fins()
		var c net.Conn
		world.Must(t, s.Out.Do(func() (err error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: 20 * time.Second}
			c, err = d.Dial("tcp", netip.AddrPortFrom(f.server, 443).String())
			return err
		}))
		time.Sleep(300 * time.Millisecond)
		if n := s.held(f.bots, from.Port()); n != 1 {
			t.Errorf("%s: the server holds %d sockets of the next user, want 1", f.name, n)
		}
		world.Must(t, get(c))
		_ = c.Close()
		if n := s.fins() - before; n != 0 {
			t.Errorf("%s: %d sockets were released", f.name, n)
		}
	}
}

// candidate makes a bundle decide for everybody, under a lease.
func (s *site) candidate(b *config.Bundle) {
	s.t.Helper()
	world.Must(s.t, s.Try(s.Host, b))
}

// serveGo has a Go server take connections and wait for what they say.
func (s *site) serveGo(port uint16) {
	s.t.Helper()
	s.Host.Services = append(s.Host.Services,
		config.Service{Name: "go", Addresses: []config.Address{{}}, Port: port, Kind: config.KindTLS, Local: true})
	var l net.Listener
	world.Must(s.t, s.Edge.Do(func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	}))
	s.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
}
