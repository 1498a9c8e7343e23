// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// The services: one looks on, so that Linux has all that was sent; one blocks; one blocks for the strong reasons, too.
// All judge by the same features.
const (
	watchPort  = 443
	guardPort  = 8443
	strictPort = 9443
)

// A listed JA4 weighs as much as it takes to block. A strong reason weighs what it takes to block before the strict
// service. Other reasons weigh less, each in its own way: a flow keeps its score, and so says which it was.
const (
	blocks = 80
	strong = 40
)

// strongReasons are those for which a rule may block alone.
var strongReasons = []string{"hello_hidden", "hello_malformed", "hello_overlap"}

// rig is a world with a server in it and a client before it.
type rig struct {
	t       testing.TB
	w       *world.World
	l       *wire
	s       *server
	flows   *ebpf.Map
	hellos  *ebpf.Map // of which some are not whole
	next    *ebpf.Map // the root's entry
	host    config.Host
	bundle  *config.Bundle
	clients uint32   // so far
	reasons []string // that may be scored, each by its number here
	listed  []string // JA4s that are blocked
	guards  []uint16 // ports of the services that block
}

func newRig(t *testing.T) *rig {
	t.Helper()
	w := world.New(t)
	r := &rig{t: t, w: w, l: newWire(t, w), s: newServer(t, w, watchPort, guardPort, strictPort),
		reasons: config.ScoreableReasons(), listed: denied()}
	host := *w.Host
	host.Services = []config.Service{
		{Name: "watch", Addresses: []config.Address{{}}, Port: watchPort, Kind: config.KindTLS, Local: true},
		{Name: "guard", Addresses: []config.Address{{}}, Port: guardPort, Kind: config.KindTLS, Local: true},
		{Name: "strict", Addresses: []config.Address{{}}, Port: strictPort, Kind: config.KindTLS, Local: true},
	}
	r.guards = []uint16{guardPort}
	if slices.Contains(r.reasons, "hello_hidden") {
		r.guards = append(r.guards, strictPort)
	}
	b := world.Bundle([]config.Rule{{ID: "bot", Label: "bot", Score: blocks}}, func(b *config.Bundle) {
		b.Policy = map[string]config.Policy{config.DefaultPolicy: {Drop: blocks}, "watch": {}, "strict": {Drop: strong}}
	})
	for _, ja4 := range r.listed {
		match, err := signature.ParseJA4(ja4)
		world.Must(t, err)
		b.JA4 = append(b.JA4, config.JA4Feature{Rule: "bot", Match: match})
	}
	for i, reason := range r.reasons {
		b.Rules = append(b.Rules, config.Rule{ID: reason, Label: reason, Score: weightOf(i, reason)})
		b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: reason, Reason: reason})
	}
	r.host, r.bundle = host, b
	w.Publish(&host, b)
	r.flows = r.pinned(bpf.DataplaneMapFlows)
	r.hellos = r.pinned(bpf.DataplaneMapHellos)
	r.next = r.pinned(bpf.RootMapRootNext)
	return r
}

func (r *rig) pinned(name string) *ebpf.Map { r.t.Helper(); return r.w.Map(name) }

// weightOf is the score of a reason, by its number.
func weightOf(i int, reason string) int {
	if slices.Contains(strongReasons, reason) {
		return strong + i
	}
	return 1 + i
}

// reasonOf returns the reason that the score of a flow names, "" for none.
func (r *rig) reasonOf(p play) string {
	for i, reason := range r.reasons {
		if weight := weightOf(i, reason); p.known && (int(p.flow.Score) == weight || int(p.flow.Score) == blocks+weight) {
			return reason
		}
	}
	return ""
}

// play is what came of a schedule at one service.
type play struct {
	lives []*life
	flow  bpf.Flow
	known bool // there is a flow of this connection
}

// ja4 is the fingerprint that the dataplane keeps, "" for none.
func (p play) ja4() string {
	if !p.known || p.flow.Flags&uint8(bpf.FlowHasTLS) == 0 {
		return ""
	}
	return compile.FormatJA4(p.flow.Tls)
}

func (p play) String() string {
	if !p.known {
		return "no flow"
	}
	f := p.flow
	return fmt.Sprintf("flow: verdict %d, reason %s, score %d, flags %#x, hello up to %d, held %d, JA4 %q", f.Verdict,
		bpf.ReasonName(bpf.Reason(f.Reason)), f.Score, f.Flags, f.HelloEnd, f.Held, p.ja4())
}

func (p play) blocked() bool {
	return p.known && p.flow.Verdict != uint8(bpf.VerdictPass)
}

// client makes one that nobody was before.
func (r *rig) client(c circumstances, port uint16) *client {
	n := r.clients
	r.clients++
	k := &client{l: r.l, stamps: c.Stamps, sack: c.SACK, isn: n*0x9e3779b1 + 7, clock: n * 0x85ebca6b}
	source := 1024 + uint16(n>>13)
	if c.IPv6 {
		a := netip.MustParseAddr("2001:db8:99::1").As16()
		binary.BigEndian.PutUint16(a[6:], uint16(n))
		k.from, k.to = netip.AddrPortFrom(netip.AddrFrom16(a), source), netip.AddrPortFrom(lab.EdgeAddr6, port)
	} else {
		a := netip.AddrFrom4([4]byte{198, 18, 96 + byte(n>>8&31), byte(n)})
		k.from, k.to = netip.AddrPortFrom(a, source), netip.AddrPortFrom(lab.EdgeAddr4, port)
	}
	return k
}

// play sends a schedule to a service.
func (r *rig) play(s *schedule, port uint16) play {
	r.t.Helper()
	return r.playWith(s, port, func(int) {})
}

// playWith is play with something that happens before each step.
func (r *rig) playWith(s *schedule, port uint16, before func(step int)) play {
	r.t.Helper()
	r.s.setCookies(s.world.Cookies)
	c := r.client(s.world, port)
	if s.world.Reuse {
		r.former(c)
	}
	c.open()
	if !s.world.NoACK {
		c.send(segment{flags: packet.ACK})
	}
	for i, step := range s.steps {
		before(i)
		c.send(step)
		if !s.world.Late {
			r.s.accept()
			r.s.read()
		}
	}
	p := play{lives: r.s.forget()}
	err := r.flows.Lookup(r.w.Dataplane.NameOf(plane.KeyOf(c.from, c.to)), &p.flow)
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		r.must(err)
		p.known = p.flow.Isn == c.isn
	}
	return p
}

// former lets the port be used by a connection whose hello is harmless, and which ends by a RST.
func (r *rig) former(c *client) {
	old := *c
	old.isn += 0x01000000
	old.open()
	stream := hello(0, otherCipher, 10, 0).Bytes()
	stream = append([]byte{22, 3, 1, byte(len(stream) >> 8), byte(len(stream))}, stream...)
	old.send(segment{flags: packet.ACK})
	old.send(segment{data: stream})
	r.s.accept()
	old.send(segment{at: len(stream), flags: packet.RST | packet.ACK})
	r.s.forget()
	c.clock += 1000
}
