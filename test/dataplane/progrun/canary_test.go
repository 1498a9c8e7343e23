// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// group returns the n-th of at least 512 prefixes that a canary keeps together: /24 or /48.
func (f family) group(n int) netip.Prefix {
	if f.visitor.Is4() {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(18 + n>>8&1), byte(n), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n)}), 48)
}

// hosts returns two addresses of a prefix that differ in every bit below it.
func hosts(p netip.Prefix) []netip.Addr {
	first := p.Addr().AsSlice()
	last := append([]byte(nil), first...)
	for i := p.Bits() / 8; i < len(last); i++ {
		last[i] = 0xff
	}
	a, _ := netip.AddrFromSlice(last)
	return []netip.Addr{p.Addr().Next(), a.Prev()}
}

const groups = 256

// arms are a connection from two hosts of each group, which begin anew with each look.
type arms [groups][2]*conn

func (r *room) arms() (a arms) {
	r.t.Helper()
	r.settle()
	l := r.listen()
	for n := range groups {
		for i, src := range hosts(r.f.group(n)) {
			a[n][i] = r.connectFree(l, src)
		}
	}
	return a
}

// sides returns for each group whether the candidate decided; both hosts of a group must agree.
func (p *plane) sides(a *arms) [groups]bool {
	p.t.Helper()
	p.forgetFlows()
	var sides [groups]bool
	for n := range groups {
		for i, k := range a[n] {
			drop := p.run(k.first()) == "XDP_DROP"
			if i > 0 && drop != sides[n] {
				p.t.Errorf("%s is on another side than the rest of its group", k.src)
			}
			sides[n] = drop
		}
	}
	return sides
}

func count(sides [groups]bool) (n int) {
	for _, candidate := range sides {
		if candidate {
			n++
		}
	}
	return n
}

// everything denies all sources of a family.
func (f family) everything() *config.Bundle {
	all := prefix("2001:db8::/32")
	if f.visitor.Is4() {
		all = prefix("198.18.0.0/15")
	}
	return rules().rule("bad", 100).list("own", "bad", all).bundle()
}

// The candidate decides for a share of the sources; a source keeps its side while the share grows.
func TestCanaryShareIsSticky(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		all := r.arms()
		p.try(f.everything(), 0)
		before := p.sides(&all)
		if n := count(before); n != 0 {
			t.Errorf("%d groups of %d without any share", n, groups)
		}
		// The salt is the same in every run, and so are the numbers; the bounds are five standard deviations wide.
		for _, c := range []struct {
			share    uint16
			min, max int
		}{{10, 0, 11}, {50, 0, 31}, {250, 29, 99}, {500, 88, 168}, {1000, groups, groups}} {
			p.change(loader.Change{Canary: &c.share})
			now := p.sides(&all)
			if n := count(now); n < c.min || n > c.max {
				t.Errorf("%d permille: %d groups of %d, want %d to %d", c.share, n, groups, c.min, c.max)
			}
			for n := range now {
				if before[n] && !now[n] {
					t.Errorf("%d permille: %s left the canary while the share grew", c.share, f.group(n))
				}
			}
			before = now
		}
		p.catchUp()
		p.want("the candidate decides", f.syn(f.group(1).Addr()), drops("prefix").by("candidate"))
	})
}

// A second attempt has another salt, and asks other visitors.
func TestCanarySaltMovesTheShare(t *testing.T) {
	f := families[0]
	r := enter(t, f)
	all := r.arms()
	p := borrow(t).site(f, nothing())
	p.try(f.everything(), 250)
	first := p.sides(&all)
	_, err := p.Withdraw()
	p.must(err)
	again := f.everything()
	again.Digest[0]++
	p.try(again, 250)
	second := p.sides(&all)
	same := 0
	for n := range first {
		if first[n] == second[n] {
			same++
		}
	}
	// Two independent quarters agree on 10 of 16.
	if same < groups/2 || same > groups*3/4 {
		t.Errorf("two salts agree on %d groups of %d", same, groups)
	}
}

func TestCandidateCountsOnlyUnderItsLease(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.try(f.usual().bundle(), 1000)
		candidate, stable := drops("prefix").by("candidate"), passes("no_match")
		p.want("a live lease", f.syn(f.bot), candidate)
		p.SetLease(0)
		p.want("no lease", f.syn(f.bot), stable)
		p.SetLease(loader.In(time.Hour))
		p.want("granted", f.syn(f.bot), candidate)

		number := p.number("candidate")
		p.SetTripped(number)
		p.want("its breaker tripped", f.syn(f.bot), stable)
		p.SetTripped(number + 1)
		p.want("another generation's breaker", f.syn(f.bot), candidate)
		p.SetTripped(0)

		lease := loader.In(100 * time.Millisecond)
		p.SetLease(lease)
		p.poll("a lease that ends", func() bool { return p.send(f.syn(f.bot).Bytes()) == stable })
		if !over(lease) {
			t.Error("the candidate lost its authority before the lease ended")
		}
	})
}

// F7: a lease that lapsed trips its generation, with the first packet that meets it. Whoever stores a live lease
// afterwards, such as an agent that was stopped in the middle of a renewal, does not bring it back.
func TestF7LapsedLeaseTripsItsGeneration(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.try(f.usual().bundle(), 1000)
		candidate, stable := drops("prefix").by("candidate"), passes("no_match")
		p.want("a live lease", f.syn(f.bot), candidate)
		p.SetLease(1)
		p.want("a lease that ended long ago", f.syn(f.bot), stable)
		if got := p.Tripped(); got != (loader.Trips{Ended: p.number("candidate")}) {
			t.Errorf("tripped %+v", got)
		}
		p.SetLease(loader.In(time.Hour))
		p.want("a live lease that came too late", f.syn(f.bot), stable)
		// A lease that was taken back is nobody's lapse.
		p.SetTripped(0)
		p.SetLease(0)
		p.want("no lease", f.syn(f.bot), stable)
		if got := p.Tripped(); got != (loader.Trips{}) {
			t.Errorf("tripped %+v", got)
		}
	})
}

// The breaker and the lease are the candidate's: stable needs neither.
func TestStableNeedsNoLease(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.SetLease(0)
		p.SetTripped(p.number("stable"))
		p.want("no lease, and a trip with its number", f.syn(f.bot), drops("prefix"))
		p.SetTripped(0)
		p.try(nothing(), 1000)
		p.want("a candidate that passes decides too", f.syn(f.bot), passes("no_match").by("candidate"))
		_, err := p.Promote()
		p.must(err)
		p.SetLease(0)
		p.want("promoted", f.syn(f.bot), passes("no_match"))
		_, err = p.Rollback()
		p.must(err)
		p.want("rolled back", f.syn(f.bot), drops("prefix"))
	})
}

func (p *plane) number(role string) uint32 {
	p.t.Helper()
	all, err := p.Generations()
	p.must(err)
	for _, g := range all {
		if g.Role == role {
			return g.Number
		}
	}
	p.t.Fatalf("no %s generation", role)
	return 0
}
