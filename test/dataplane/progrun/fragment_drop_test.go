// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// cutting is the usual bundle, whose policy drops fragments.
func (f family) cutting() *config.Bundle {
	b := f.usual().bundle()
	b.Policy[config.DefaultPolicy] = config.Policy{Drop: 80, Fragments: config.FragmentsDrop}
	return b
}

// headerless is a first fragment that ends before the ports.
func headerless(f packet.Frame) packet.Frame { return tiny(f, 0) }

// onlyTLS is a site on which every TCP service is of a kind whose fragments can be dropped.
func (f family) onlyTLS() *config.Host {
	h := f.site()
	for i := range h.Services {
		if h.Services[i].Kind == config.KindHTTP {
			h.Services[i].Kind = config.KindTCP
		}
	}
	return h
}

// What begins a TCP segment in fragments is dropped by itself, and whatever spares a visitor elsewhere spares them
// here.
func TestDroppedFragments(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		p.publish(f.onlyTLS(), f.cutting())
		noUDP := first(f.udp(f.visitor, dnsPort))
		noUDP.Body = packet.Raw{Protocol: packet.ProtoUDP}
		p.wantRows([]row{
			{"a visitor's SYN", first(f.syn(f.visitor)), drops("fragment")},
			{"eight bytes of it", tiny(f.syn(f.visitor), 8), drops("fragment")},
			{"nothing of it", headerless(f.syn(f.visitor)), drops("fragment")},
			{"a visitor's data", first(f.data(f.visitor, 5, request)), drops("fragment")},
			{"a visitor's hello", first(f.data(f.visitor, visitorISN+1, hello)), drops("fragment")},
			{"a bot's SYN", first(f.syn(f.bot)), drops("prefix")},
			{"a suspect's SYN", first(f.syn(f.mild)), drops("fragment")},
			{"a protected source's SYN", first(f.syn(f.protected)), passes("protected")},
			{"a later fragment", later(f.syn(f.visitor), 1, true), passes("fragment")},
			{"the last fragment", later(f.syn(f.visitor), 185, false), passes("fragment")},
			{"a whole SYN", f.syn(f.visitor), passes("no_match")},
			{"UDP", first(f.udp(f.visitor, dnsPort)), passes("no_match").of("dns")},
			{"UDP without ports", noUDP, passes("fragment").of("dns")},
		})
		p.mode(config.ModeObserve)
		p.want("observed", first(f.syn(f.visitor)), would("fragment"))
		p.want("observed, without ports", headerless(f.syn(f.visitor)), would("fragment"))
		p.mode(config.ModeEnforce)
		info, err := p.Host()
		p.must(err)
		web, _ := info.Service("web")
		p.SetServiceBypass(web.ID, loader.DeadlineForever)
		p.want("bypassed", first(f.syn(f.visitor)), undecided("web", "service_bypass"))
		p.SetServiceBypass(web.ID, 0)
		p.must(p.Vouch(f.visitor, time.Hour))
		p.want("vouched for", first(f.syn(f.visitor)), passes("protected"))
		if n := len(p.flows()); n > 0 {
			t.Errorf("%d flows are kept of fragments", n)
		}
	})
}

// Without its agent nothing is dropped; a candidate drops only for its share, and while its lease lives.
func TestDroppedFragmentsOfACandidate(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		p.publish(f.onlyTLS(), f.usual().bundle())
		p.want("stable lets fragments pass", first(f.syn(f.visitor)), passes("no_match"))
		p.try(f.cutting(), 1000)
		p.want("the candidate does not", first(f.syn(f.visitor)), drops("fragment").by("candidate"))
		p.SetLease(loader.In(-time.Second))
		p.want("its lease is over", first(f.syn(f.visitor)), passes("no_match"))
	})
}

// Where a service on the address takes fragments, one without ports may be for that: it passes.
func TestFragmentsWithoutPortsOfAnAddress(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		h := f.onlyTLS()
		h.Services = append(h.Services,
			config.Service{Name: "plain", Addresses: []config.Address{{}}, Port: 80, Kind: config.KindHTTP, Local: true})
		p := borrow(t)
		p.publish(h, f.cutting())
		p.want("with ports", first(f.syn(f.visitor)), drops("fragment"))
		p.want("without", headerless(f.syn(f.visitor)), passes("fragment"))
		p.want("a bot's without", headerless(f.syn(f.bot)), drops("prefix"))
	})
}
