// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/world"
)

// behindBalancer are the servers that take a PROXY header, each with its port.
var behindBalancer = []server{
	{name: "nginx", port: firstPort, run: servers[3].run, proxied: true},
	{name: "HAProxy", port: firstPort + 1, run: servers[4].run, proxied: true},
}

// lane is one way through the balancer: it listens on a port of its own for each.
type lane struct {
	word   string // how HAProxy writes the header
	place  place
	server server
	family family
	port   uint16
}

func lanes() (all []lane) {
	for _, word := range []string{"send-proxy", "send-proxy-v2"} {
		for _, p := range places {
			for _, v := range behindBalancer {
				for _, f := range families {
					all = append(all, lane{word, p, v, f, uint16(9000 + len(all))})
				}
			}
		}
	}
	return all
}

// loopback is where the balancer listens, so that the header's addresses are of the family.
func (l lane) loopback() netip.AddrPort {
	if l.family.edge.Is4() {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.port)
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), l.port)
}

func (s *site) balance(all []lane) {
	s.t.Helper()
	text := "defaults\n\tmode tcp\n\ttimeout connect 20s\n\ttimeout client 60s\n\ttimeout server 60s\n"
	for _, l := range all {
		text += fmt.Sprintf("listen l%d\n\tbind %s\n\tserver s %s %s\n", l.port, l.loopback(),
			netip.AddrPortFrom(l.family.edge, l.place.port(l.server.port)), l.word)
	}
	path := filepath.Join(s.folder, "balancer.cfg")
	s.write(path, text)
	s.start(s.Out, []string{"haproxy", "-db", "-q", "-f", path})
}

// A real balancer's PROXY headers, of both versions, are stepped over: JA4 is read, a listed bot is blocked, a visitor
// served.
func TestBehindABalancer(t *testing.T) {
	s := newSite(t, len(behindBalancer))
	for i := range s.Host.Services {
		s.Host.Services[i].ProxyProtocol = true
	}
	bot, visitor := hello(t), hello(t, "http/1.1")
	s.publish(deny(t, bot))
	s.serve(behindBalancer...)
	all := lanes()
	s.balance(all)
	for _, l := range all {
		for name, wait := range map[string]time.Duration{"at once": 0, "later": 30 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, %s, %s, %s, %s", l.word, l.server.name, l.place.name, l.family.name, name),
				func(t *testing.T) {
					port := l.place.port(l.server.port)
					known := s.keysTo(port)
					c := s.dialBalancer(l)
					time.Sleep(wait) // HAProxy has sent the header by itself, or not: both are right
					world.Must(t, says(c, visitor))
					if ok, err := served(c); !ok || err != nil {
						t.Fatalf("the visitor is not served: %v", err)
					}
					if got, want := s.readTo(port, known), ja4Of(visitor); got != want {
						t.Errorf("read of the visitor: %s, want %s", got, want)
					}
					_ = c.Close()
					known = s.keysTo(port)
					c = s.dialBalancer(l)
					time.Sleep(wait)
					world.Must(t, says(c, bot))
					if !until(func() bool {
						flows := s.newTo(port, known)
						return len(flows) == 1 && flows[0].Verdict == verdictDrop && flows[0].Flags&confirmed != 0
					}) {
						t.Errorf("the bot is not blocked: %s", s.readTo(port, known))
					}
				})
		}
	}
}

func (s *site) dialBalancer(l lane) (c net.Conn) {
	s.t.Helper()
	ok := until(func() bool {
		var err error
		c, err = s.Out.Dialer(netip.Addr{}).DialContext(s.t.Context(), "tcp", l.loopback().String())
		return err == nil
	})
	if !ok {
		s.t.Fatal("the balancer does not answer")
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// flowsTo are the flows to a port.
func (s *site) flowsTo(port uint16) map[bpf.FlowName]bpf.Flow {
	s.t.Helper()
	flows := map[bpf.FlowName]bpf.Flow{}
	var k bpf.FlowName
	var flow bpf.Flow
	rows := s.flows.Iterate()
	for rows.Next(&k, &flow) {
		if k.Dport == port<<8|port>>8 {
			flows[k] = flow
		}
	}
	world.Must(s.t, rows.Err())
	return flows
}

// keysTo says which flows to a port there are already: earlier bots send again for a while.
func (s *site) keysTo(port uint16) map[bpf.FlowName]bool {
	s.t.Helper()
	known := map[bpf.FlowName]bool{}
	for k := range s.flowsTo(port) {
		known[k] = true
	}
	return known
}

func (s *site) newTo(port uint16, known map[bpf.FlowName]bool) (flows []bpf.Flow) {
	s.t.Helper()
	for k, flow := range s.flowsTo(port) {
		if !known[k] {
			flows = append(flows, flow)
		}
	}
	return flows
}

// readTo is what was read of the one new connection to a port.
func (s *site) readTo(port uint16, known map[bpf.FlowName]bool) string {
	s.t.Helper()
	flows := s.newTo(port, known)
	if len(flows) != 1 {
		return fmt.Sprintf("%d new flows", len(flows))
	}
	return readOf(flows[0], true)
}
