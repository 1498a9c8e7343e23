// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// untracked keeps connection tracking out of it: nobody but the answers vouches. The server's own addresses are routed
// to it.
const untracked = `table inet raw {
	chain pre { type filter hook prerouting priority raw; notrack; }
	chain out { type filter hook output priority raw; notrack; }
}
`

// forwarded sends what comes for port 443 to the server behind.
const forwarded = `table ip nat {
	chain pre { type nat hook prerouting priority dstnat; tcp dport 443 dnat to 10.66.0.2; }
}
table ip6 nat {
	chain pre { type nat hook prerouting priority dstnat; tcp dport 443 dnat to fd66::2; }
}
`

type site struct {
	*world.World
	t       *testing.T
	servers map[string]netip.Addr // by family
	served  atomic.Uint64         // bytes that the server has read
}

type family struct {
	name    string
	edge    netip.Addr
	behind  netip.Addr
	bot     netip.Addr
	visitor netip.Addr
}

var families = []family{
	{"IPv4", lab.EdgeAddr4, lab.BehindAddr4, lab.CrawlerPrefix4.Addr().Next(), lab.VisitorPrefix4.Addr().Next()},
	{"IPv6", lab.EdgeAddr6, lab.BehindAddr6, lab.CrawlerPrefix6.Addr().Next(), lab.VisitorPrefix6.Addr().Next()},
}

// newSite makes a site; by DNAT the server has the edge's addresses, else its own.
func newSite(t *testing.T, dnat bool) *site {
	t.Helper()
	world.Program(t, "nft")
	s := &site{World: world.New(t), t: t, servers: map[string]netip.Addr{}}
	rules := untracked
	for _, f := range families {
		s.servers[f.name] = f.behind
		if dnat {
			s.servers[f.name], rules = f.edge, forwarded
		}
	}
	s.Host.Services[0].Local, s.Host.Services[0].Confirm = false, config.ConfirmEgress
	world.Must(t, s.AddBehind())
	world.Must(t, s.Edge.Filter(rules))
	world.Must(t, s.Edge.Do(func() error { return s.Dataplane.SyncEgress([]string{s.EdgeIf}) }))
	for network, address := range map[string]string{"tcp4": "0.0.0.0:443", "tcp6": "[::]:443"} {
		l, err := s.Behind.Listen(network, address)
		world.Must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go s.accept(l)
	}
	s.Publish(s.Host, world.Bundle(nil, nil))
	for _, f := range families {
		world.Eventually(t, "the server behind answers over "+f.name, func() bool { return s.visit(f) == nil })
	}
	return s
}

func (s *site) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.serve(c)
	}
}

func (s *site) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		s.served.Add(uint64(n))
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b[:n], []byte("hello")) {
			continue // no server answers half a ClientHello
		}
		if _, err := io.WriteString(c, "served\n"); err != nil {
			return
		}
	}
}

func (s *site) dial(from netip.Addr, f family) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	c, err := s.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(s.servers[f.name], 443).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// visit says hello as a visitor and waits for the answer.
func (s *site) visit(f family) error {
	c, err := s.dial(f.visitor, f)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("a visitor's hello")); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = io.ReadFull(c, make([]byte, len("served\n")))
	return err
}

// hello is what Go's TLS client says first.
func hello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer func() { _ = server.Close() }()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "edge.example", CurvePreferences: []tls.CurveID{tls.X25519}}).
			Handshake()
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	world.Must(t, err)
	return b[:n]
}

// deny drops clients with this ClientHello.
func deny(t *testing.T, stream []byte) *config.Bundle {
	t.Helper()
	parsed, err := reference.ParseStream(stream)
	world.Must(t, err)
	ja4, err := signature.ParseJA4(parsed.JA4())
	world.Must(t, err)
	return world.Bundle(world.BadRule, func(b *config.Bundle) { b.JA4 = []config.JA4Feature{{Rule: "bad", Match: ja4}} })
}

// flows are those that the dataplane keeps of an address and port, wherever.
func (s *site) flows(from netip.AddrPort) []bpf.Flow {
	s.t.Helper()
	return s.flowsThat(func(client netip.AddrPort) bool { return client == from })
}

func (s *site) flowsAt(port uint16) []bpf.Flow {
	s.t.Helper()
	return s.flowsThat(func(client netip.AddrPort) bool { return client.Port() == port })
}

func (s *site) flowsThat(are func(client netip.AddrPort) bool) (all []bpf.Flow) {
	s.t.Helper()
	rows, err := plane.Flows(s.Map(bpf.DataplaneMapFlows))
	world.Must(s.t, err)
	for k, f := range rows {
		if are(plane.ClientOf(k)) {
			all = append(all, f)
		}
	}
	return all
}

func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
