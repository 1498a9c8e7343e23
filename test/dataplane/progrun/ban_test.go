// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
)

// banned is what a packet under a ban gets: no generation is asked.
func banned(service string) result { return drops("ban").by("none").of(service) }

func TestBans(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		network := netip.PrefixFrom(f.visitor, f.visitor.BitLen()*3/4).Masked()
		p.want("before", f.syn(f.visitor), passes("no_match"))
		p.must(p.Ban(network, time.Hour))
		p.wantRows([]row{
			{"SYN", f.syn(f.visitor), banned("web")},
			{"ACK", f.ack(f.visitor, 5), banned("web")},
			{"data", f.data(f.visitor, 5, request), banned("web")},
			{"hello", f.data(f.visitor, 5, hello), banned("web")},
			{"UDP", f.udp(f.visitor, dnsPort), banned("dns")},
			{"not a service", f.udp(f.visitor, dnsPort+1), undecided("none", "not_service")},
			{"another network", f.syn(f.other), passes("no_match")},
			{"a bot is still a bot", f.syn(f.bot), drops("prefix")},
		})
		p.must(p.Ban(host(f.bot), time.Hour))
		p.want("a ban comes before the bundle", f.syn(f.bot), banned("web"))
		p.must(p.Ban(f.denied, time.Hour))
		p.want("the protected win", f.syn(f.protected), passes("protected").by("none"))
		p.want("also over UDP", f.udp(f.protected, dnsPort), passes("protected").of("dns").by("none"))

		for _, ban := range []netip.Prefix{network, host(f.bot), f.denied} {
			if was, err := p.Unban(ban); err != nil || !was {
				t.Fatalf("unban %s: %t, %v", ban, was, err)
			}
		}
		p.want("unbanned", f.syn(f.visitor), passes("no_match"))
		p.want("unbanned bot", f.syn(f.bot), drops("prefix"))
	})
}

// A ban needs no bundle, and outlives every generation.
func TestBansNeedNoGeneration(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.want("with a generation", f.syn(f.visitor), banned("web"))
		_, err := p.DropGenerations()
		p.must(err)
		p.want("without any", f.syn(f.visitor), banned("web"))
		p.want("others", f.syn(f.bot), undecided("web", "no_generation"))
	})
}

func TestBansEnd(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		for ttl := 100 * time.Millisecond; ; ttl *= 2 { // a slow machine gets a longer ban
			p.must(p.Ban(host(f.visitor), ttl))
			end := loader.In(0)
			if bans, err := p.Bans(); err == nil && len(bans) == 1 {
				end = loader.In(time.Until(bans[0].Expires) - 10*time.Millisecond)
			}
			if p.send(f.syn(f.visitor).Bytes()) != banned("web") {
				if ttl > 30*time.Second {
					t.Fatal("a ban of 30 s was never in force")
				}
				continue
			}
			p.poll("a ban that ends", func() bool { return p.send(f.syn(f.visitor).Bytes()) == passes("no_match") })
			if !over(end) {
				t.Error("the ban ended before its time")
			}
			break
		}
		if n, err := p.SweepBans(); err != nil || n != 1 {
			t.Errorf("swept %d ended bans, %v; want 1", n, err)
		}
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.must(p.Ban(host(f.visitor), -time.Second))
		p.want("a ban replaced by one that is over", f.syn(f.visitor), passes("no_match"))
		network := netip.PrefixFrom(f.visitor, f.visitor.BitLen()*3/4).Masked()
		p.must(p.Ban(network, time.Hour))
		p.must(p.Ban(host(f.visitor), -time.Second))
		p.want("an ended ban of one address inside a banned network", f.syn(f.visitor), banned("web"))
	})
}
