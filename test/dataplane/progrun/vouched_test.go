// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// neighbour is in the /64 of an IPv6 address, or in the /24 of an IPv4 one.
func neighbour(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] ^= 1
	n, _ := netip.AddrFromSlice(b)
	return n
}

// A vouched source is spared as the protected are, with the same reason: an IPv4 address alone, an IPv6 address with
// its /64.
func TestVouchedSources(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.want("before", f.syn(f.bot), drops("prefix"))
		p.must(p.Vouch(f.bot, time.Hour))
		p.want("SYN", f.syn(f.bot), passes("protected"))
		p.want("hello", f.data(f.bot, 5, hello), passes("protected"))
		p.want("UDP", f.udp(f.bot, dnsPort), passes("protected").of("dns"))
		beside := drops("prefix")
		if f.bot.Is6() {
			beside = passes("protected")
		}
		p.want("its neighbour", f.syn(neighbour(f.bot)), beside)
		p.want("a visitor needs nobody", f.syn(f.visitor), passes("no_match"))
		p.want("another bot's fingerprint", f.scan(f.other), drops("tcp_fingerprint"))
		p.mode(config.ModeObserve)
		p.want("observed", f.syn(f.bot), passes("protected"))
		p.mode(config.ModeEnforce)
		_, err := p.Unvouch(f.bot)
		p.must(err)
		p.want("not any more", f.syn(f.bot), drops("prefix"))
	})
}

// Nobody lifts a ban by vouching: an operator's word holds.
func TestVouchLiftsNoBan(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.must(p.Vouch(f.bot, time.Hour))
		p.must(p.Ban(host(f.bot), time.Hour))
		p.want("vouched and banned", f.syn(f.bot), banned("web"))
		p.want("also over UDP", f.udp(f.bot, dnsPort), banned("dns"))
		_, err := p.Unban(host(f.bot))
		p.must(err)
		p.want("unbanned", f.syn(f.bot), passes("protected"))
	})
}

func TestVouchesEnd(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.must(p.Vouch(f.bot, -time.Second))
		p.want("ended before it began", f.syn(f.bot), drops("prefix"))
		p.must(p.Vouch(f.other, time.Hour)) // the dataplane goes on to look
		p.want("ended, beside one in force", f.syn(f.bot), drops("prefix"))
		for ttl := 100 * time.Millisecond; ; ttl *= 2 { // a slow machine gets a longer one
			p.must(p.Vouch(f.bot, ttl))
			end := loader.In(ttl - 10*time.Millisecond)
			if p.send(f.syn(f.bot).Bytes()) != passes("protected") {
				if ttl > 30*time.Second {
					t.Fatal("a vouch of 30 s was never in force")
				}
				continue
			}
			p.poll("a vouch that ends", func() bool { return p.send(f.syn(f.bot).Bytes()) == drops("prefix") })
			if !over(end) {
				t.Error("the vouch ended before its time")
			}
			break
		}
		if n, err := p.SweepVouched(); err != nil || n != 1 {
			t.Errorf("swept %d ended vouches, %v; want 1", n, err)
		}
	})
}

// A connection that is blocked already goes on once somebody vouches for its source, as it does for a new allowlist
// line, and is not blocked again when the vouch ends.
func TestVouchHealsABlockedConnection(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.connect(r.listen(), f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.swap(deny(f.visitor))
		p.want("its first payload", k.at(0, hello), drops("prefix"))
		p.want("and again", k.at(0, hello), drops("prefix"))
		p.must(p.Vouch(f.visitor, time.Hour))
		p.want("vouched", k.at(0, hello), passes("protected"))
		p.want("more data", k.at(uint32(len(hello)), request), known())
		_, err := p.Unvouch(f.visitor)
		p.must(err)
		p.want("afterwards", k.at(100, request), known())
	})
}
