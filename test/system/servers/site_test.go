// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// patience is how long anybody may take for what is done at once; the machine may be busy.
const patience = 20 * time.Second

// The edge's own ports, and how far from one is the port that DNAT leads to the same number behind.
const (
	firstPort = 4431
	dnatStep  = 1000
)

// site is a world with somebody behind it.
type site struct {
	*world.World
	t      *testing.T
	folder string
	flows  *ebpf.Map
}

type family struct {
	name    string
	edge    netip.Addr
	behind  netip.Addr
	bots    netip.Prefix
	visitor netip.Addr
}

var families = []family{
	{"IPv4", lab.EdgeAddr4, lab.BehindAddr4, lab.CrawlerPrefix4, lab.VisitorPrefix4.Addr().Next()},
	{"IPv6", lab.EdgeAddr6, lab.BehindAddr6, lab.CrawlerPrefix6, lab.VisitorPrefix6.Addr().Next()},
}

func (f family) bot() netip.Addr { return f.bots.Addr().Next() }

// place is where a server runs, and how it is reached from the outside.
type place struct {
	name string
	dnat bool
}

var places = []place{{"local", false}, {"behind DNAT", true}}

func (p place) port(n uint16) uint16 {
	if p.dnat {
		return n + dnatStep
	}
	return n
}

// namespace is where the place's sockets are.
func (s *site) namespace(p place) *lab.Namespace {
	if p.dnat {
		return s.Behind
	}
	return s.Edge
}

// newSite makes a site with this many ports at each place.
func newSite(t *testing.T, ports int) *site {
	t.Helper()
	world.Program(t, "nft")
	s := &site{World: world.New(t), t: t, folder: t.TempDir()}
	world.Must(t, s.AddBehind())
	s.Host.Services = nil
	rules := ""
	for i := range ports {
		port := uint16(firstPort + i)
		for _, p := range places {
			s.Host.Services = append(s.Host.Services,
				config.Service{Name: fmt.Sprintf("s%d", p.port(port)), Addresses: []config.Address{{}},
					Port: p.port(port), Kind: config.KindTLS, Local: !p.dnat})
		}
		for table, to := range map[string]string{"ip": lab.BehindAddr4.String(),
			"ip6": "[" + lab.BehindAddr6.String() + "]"} {
			rules += fmt.Sprintf("add rule %s nat pre tcp dport %d dnat to %s:%d\n", table, port+dnatStep, to, port)
		}
	}
	// What connection tracking calls invalid is not forwarded: without the second chain the edge itself would answer it,
	// by an RST.
	const chain = "table %s nat { chain pre { type nat hook prerouting priority dstnat; }; " +
		"chain in { type filter hook input priority 0; ct state invalid drop; }; }\n"
	world.Must(t, s.Edge.Filter(fmt.Sprintf(chain, "ip")+fmt.Sprintf(chain, "ip6")+rules))
	if err := s.Dataplane.Conntrack(); err != nil {
		t.Fatal(err)
	}
	s.flows = s.Map(bpf.DataplaneMapFlows)
	s.publish(world.Bundle(nil, nil))
	return s
}

func (s *site) publish(b *config.Bundle) { s.t.Helper(); s.Publish(s.Host, b) }

// deny drops clients with one of these ClientHellos.
func deny(t *testing.T, streams ...[]byte) *config.Bundle {
	t.Helper()
	return world.Bundle(world.BadRule, func(b *config.Bundle) {
		seen := map[string]bool{}
		for _, stream := range streams {
			text := ja4Of(stream)
			if seen[text] {
				continue
			}
			seen[text] = true
			ja4, err := signature.ParseJA4(text)
			world.Must(t, err)
			b.JA4 = append(b.JA4, config.JA4Feature{Rule: "bad", Match: ja4})
		}
	})
}

// ja4Of is the reference's fingerprint of a stream, "" for none.
func ja4Of(stream []byte) string {
	h, err := reference.ParseStream(stream)
	if err != nil {
		return ""
	}
	return h.JA4()
}

// dial connects from the outside to a port of the edge.
func (s *site) dial(from, to netip.Addr, port uint16) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// flow is what the dataplane keeps of a connection.
func (s *site) flow(from, to netip.AddrPort) (f bpf.Flow, ok bool) {
	err := s.flows.Lookup(s.Dataplane.NameOf(keyOf(from, to)), &f)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		s.t.Errorf("look at a flow: %v", err)
	}
	return f, err == nil
}

func (s *site) flowOf(c net.Conn) (bpf.Flow, bool) { return s.flow(local(c), remote(c)) }

func keyOf(from, to netip.AddrPort) (k bpf.FlowKey) {
	words := func(a netip.Addr) (w [4]uint32) {
		b := a.As16()
		for i := range w {
			w[i] = binary.NativeEndian.Uint32(b[4*i:])
		}
		return w
	}
	port := func(n uint16) uint16 { return n<<8 | n>>8 }
	k.Saddr, k.Daddr = words(from.Addr()), words(to.Addr())
	k.Sport, k.Dport = port(from.Port()), port(to.Port())
	return k
}

const (
	verdictPass = uint8(bpf.VerdictPass)
	verdictDrop = uint8(bpf.VerdictDrop)
	confirmed   = uint8(bpf.FlowConfirmed)
	hasTLS      = uint8(bpf.FlowHasTLS)
)

// readOf is the JA4 that the dataplane read, else why there is none.
func readOf(f bpf.Flow, ok bool) string {
	switch {
	case !ok:
		return "no flow"
	case f.Flags&hasTLS != 0:
		return compile.FormatJA4(f.Tls)
	}
	return "none: " + bpf.ReasonName(bpf.Reason(f.Reason))
}

func local(c net.Conn) netip.AddrPort  { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
func remote(c net.Conn) netip.AddrPort { return c.RemoteAddr().(*net.TCPAddr).AddrPort() }

// until asks until yes, and returns whether it came to that.
func until(yes func() bool) bool {
	for deadline := time.Now().Add(patience); !yes(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
