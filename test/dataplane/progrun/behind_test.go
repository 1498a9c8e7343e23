// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/packet"
)

// theChange is what the bundles of these tests may be compiled for.
var theChange = config.Digest{1}

// compiledFor is a bundle that is not behind.
func compiledFor(b *config.Bundle) *config.Bundle {
	with := *b
	with.Host = theChange
	return &with
}

// stand makes the next host file count, for what is compiled for its change alone; stable is behind.
func (p *plane) stand(next, before *config.Host, stable *config.Bundle) {
	p.t.Helper()
	host := p.makeHost(next, &compile.Since{Host: before, Change: theChange})
	slot := p.build(stable)
	p.change(loader.Change{Host: &host, Stable: &slot})
	p.putHost(host)
}

// A host file that lets more be blocked counts for nobody until the bundle is compiled for it: what decides goes on as
// with the host file before.
func TestWhatIsBehindDecidesAsBefore(t *testing.T) {
	services := func(h *config.Host, change func(*config.Service), names ...string) {
		for i := range h.Services {
			if slices.Contains(names, h.Services[i].Name) {
				change(&h.Services[i])
			}
		}
	}
	type ask struct {
		what                    string
		frame                   func(f family) packet.Frame
		before, behind, current result
	}
	to := func(f family, frame packet.Frame, port uint16) packet.Frame {
		tcp := frame.Body.(packet.TCP)
		tcp.DestPort = port
		frame.Body = tcp
		return frame
	}
	at := func(f family, frame packet.Frame) packet.Frame { frame.Dest = f.exact; return frame }
	bot, same := func(f family) packet.Frame { return f.syn(f.bot) }, drops("prefix")
	for name, c := range map[string]struct {
		bundle func(f family) *config.Bundle
		change func(f family, before, next *config.Host)
		asks   []ask
	}{
		"nothing": {nil, func(family, *config.Host, *config.Host) {}, []ask{
			{"a bot", bot, same, same, same},
			{"who is protected", func(f family) packet.Frame { return f.syn(f.protected) }, passes("protected"),
				passes("protected"), passes("protected")},
		}},
		"a line less": {nil, func(_ family, _, next *config.Host) { next.Allowlist = nil }, []ask{
			{"who was protected", func(f family) packet.Frame { return f.syn(f.protected) }, passes("protected"),
				passes("protected"), same},
			{"a bot", bot, same, same, same},
		}},
		"a narrower line": {nil, func(f family, before, next *config.Host) {
			before.Allowlist = []config.AllowEntry{{Prefix: f.denied}}
		}, []ask{
			{"who was protected", bot, passes("protected"), passes("protected"), same},
			{"who is", func(f family) packet.Frame { return f.syn(f.protected) }, passes("protected"),
				passes("protected"), passes("protected")},
		}},
		"everybody was protected": {nil, func(f family, before, next *config.Host) {
			before.Allowlist = []config.AllowEntry{{Prefix: prefix("::/0")}, {Prefix: prefix("0.0.0.0/0")}}
		}, []ask{{"a bot", bot, passes("protected"), passes("protected"), same}}},
		"a service": {nil, func(_ family, before, next *config.Host) { before.Services = before.Services[1:] }, []ask{
			{"a bot", bot, undecided("none", "not_service"), passes("no_policy"), same},
			{"to another", func(f family) packet.Frame { return at(f, f.syn(f.bot)) }, same.of("api"), same.of("api"),
				same.of("api")},
		}},
		"another port": {nil, func(_ family, before, next *config.Host) {
			services(before, func(s *config.Service) { s.Port = remotePort + 1 }, "far")
		}, []ask{
			{"a bot", func(f family) packet.Frame { return to(f, f.syn(f.bot), remotePort) }, undecided("none", "not_service"),
				passes("no_policy").of("far"), same.of("far")},
		}},
		"another address": {nil, func(f family, before, next *config.Host) {
			services(before, func(s *config.Service) { s.Addresses = []config.Address{{IP: f.exact}} }, "far")
			services(next, func(s *config.Service) { s.Addresses = []config.Address{{IP: f.exact}, {IP: f.server}} }, "far")
		}, []ask{
			{"a bot at the new one", func(f family) packet.Frame { return to(f, f.syn(f.bot), remotePort) },
				undecided("none", "not_service"), passes("no_policy").of("far"), same.of("far")},
			{"a bot at the old one", func(f family) packet.Frame { return at(f, to(f, f.syn(f.bot), remotePort)) },
				same.of("far"), same.of("far"), same.of("far")},
		}},
		"any address": {nil, func(f family, before, _ *config.Host) {
			services(before, func(s *config.Service) { s.Addresses = []config.Address{{IP: f.exact}} }, "far")
		}, []ask{
			{"a bot at a new one", func(f family) packet.Frame { return to(f, f.syn(f.bot), remotePort) },
				undecided("none", "not_service"), passes("no_policy").of("far"), same.of("far")},
			{"a bot at the old one", func(f family) packet.Frame { return at(f, to(f, f.syn(f.bot), remotePort)) },
				same.of("far"), same.of("far"), same.of("far")},
		}},
		"another kind": {nil, func(_ family, before, _ *config.Host) {
			services(before, func(s *config.Service) { s.Kind = config.KindTCP }, "web")
		}, []ask{{"a bot", bot, same, passes("no_policy"), same}}},
		"UDP": {nil, func(_ family, before, _ *config.Host) { before.Services = before.Services[:3] }, []ask{
			{"a question", func(f family) packet.Frame { return f.udp(f.bot, dnsPort) }, undecided("none", "not_service"),
				passes("no_policy").of("dns"), same.of("dns")},
		}},
		"fragments of a new service": {family.cutting, func(f family, before, next *config.Host) {
			*before, *next = *f.onlyTLS(), *f.onlyTLS()
			before.Services = before.Services[1:]
		}, []ask{
			{"a visitor's first", func(f family) packet.Frame { return first(f.syn(f.visitor)) },
				undecided("none", "not_service"), passes("no_policy"), drops("fragment")},
		}},
		"an interface": {nil, func(_ family, before, next *config.Host) {
			next.Interfaces = []config.Interface{{Name: "eth1"}}
		}, []ask{{"a bot on it", bot, same, passes("no_policy"), same}}},
	} {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				p := borrow(t)
				b := f.usual().bundle()
				if c.bundle != nil {
					b = c.bundle(f)
				}
				before, next := f.site(), f.site()
				c.change(f, before, next)
				p.publish(before, b)
				for _, a := range c.asks {
					p.want(a.what+", before", a.frame(f), a.before)
				}
				if len(next.Interfaces) > 0 { // the packets of a program run come from lo
					p.must(p.pinned(bpf.DataplaneMapInterfaces).Put(uint32(1), bpf.Interface{Flags: uint32(bpf.InterfaceFresh)}))
				}
				p.stand(next, before, b)
				for _, a := range c.asks {
					p.want(a.what+", and stable is behind", a.frame(f), a.behind)
				}
				p.try(compiledFor(b), 1000)
				for _, a := range c.asks {
					want := a.current
					if want.Service != "none" {
						want = want.by("candidate")
					}
					p.want(a.what+", by a candidate that is not", a.frame(f), want)
				}
				p.must(onlyError(p.Withdraw()))
				for _, a := range c.asks {
					p.want(a.what+", without it", a.frame(f), a.behind)
				}
				p.swap(compiledFor(b))
				for _, a := range c.asks {
					p.want(a.what+", by a stable that is not", a.frame(f), a.current)
				}
				p.publishHost(next)
				for _, a := range c.asks {
					p.want(a.what+", as the host file counts for all", a.frame(f), a.current)
				}
			})
		})
	}
}

func onlyError[T any](_ T, err error) error { return err }

// Who is protected no longer is spared from a ban while what is stable is behind.
func TestABanWaitsForTheHostFile(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		before, next := f.site(), f.site()
		next.Allowlist = nil
		p.publish(before, nothing())
		p.must(p.Ban(host(f.protected), time.Hour))
		p.want("protected", f.syn(f.protected), passes("protected").by("none"))
		p.stand(next, before, nothing())
		p.want("behind", f.syn(f.protected), passes("protected").by("none"))
		p.try(compiledFor(nothing()), 1000)
		p.want("a candidate is not", f.syn(f.protected), passes("protected").by("none"))
		p.must(onlyError(p.Withdraw()))
		p.swap(compiledFor(nothing()))
		p.want("nothing is", f.syn(f.protected), drops("ban").by("none"))
	})
}

// A reason that is accepted makes a block only of what is compiled for it.
func TestAcceptedReasonsOfWhatIsBehind(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		b := rules().rule("odd", 100).reason("odd", "not_hello").bundle()
		before, next := f.site(), f.site()
		next.AcceptReasons = []string{"not_hello"}
		sources := f.sources(0, 3)
		visit := func(i int) packet.Frame { return r.connectFree(l, sources[i]).at(0, request) }
		p.stand(next, before, b)
		p.want("behind", visit(0), passes("weak"))
		p.try(compiledFor(b), 1000)
		p.want("a candidate that is not", visit(1), drops("not_hello").by("candidate"))
		p.must(onlyError(p.Withdraw()))
		p.want("behind again", visit(2), passes("weak"))
	})
}

// What a change of the host file newly blocks is a vote like another, and who is protected no longer is nobody's hit.
func TestPairsOfAHostFile(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		k := r.connectFree(l, f.sources(0, 1)[0])
		before, next := f.site(), f.site()
		before.Allowlist = []config.AllowEntry{{Prefix: host(k.src)}}
		p.stand(next, before, deny(k.src))
		p.compare(compiledFor(deny(k.src)), 0)
		p.wantBytes("the first payload", k.first(), passes("protected"))
		p.wantPairs("who was protected", map[string]int64{"pass-block": 1})
		if hits := p.counted(loader.LaneMain).Hits; len(hits) > 0 {
			t.Errorf("a protected source is hit: %+v", hits)
		}
	})
}
