// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	support "github.com/spillway/spillway/test/support/plane"
)

// eachWay changes every way of the votes that is taken.
func (p *plane) eachWay(change func(way uint64) uint64) {
	p.t.Helper()
	m := p.pinned(bpf.DataplaneMapVotes)
	keys, sets := make([]uint32, m.MaxEntries()), make([]bpf.VoteSet, m.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
		p.must(m.Lookup(keys[i], &sets[i]))
		for w, way := range sets[i].Ways {
			if way != 0 {
				sets[i].Ways[w] = change(way)
			}
		}
	}
	_, err := m.BatchUpdate(keys, sets, nil)
	p.must(err)
}

// A prefix votes again on another day, and in another run.
func TestAPrefixVotesAgainAnotherDay(t *testing.T) {
	f := families[0]
	r := enter(t, f)
	r.settle()
	p := borrow(t).site(f, nothing())
	k := r.connectFree(r.listen(), f.sources(0, 1)[0])
	c := p.compare(nothing(), 0)
	p.run(k.first())
	const days = bpf.WayDays << bpf.WayDay
	p.eachWay(func(way uint64) uint64 { return way&^days | (way>>bpf.WayDay-1)&bpf.WayDays<<bpf.WayDay })
	p.forgetFlows()
	p.run(k.first())
	p.wantPairs("another day", map[string]int64{"pass-pass": 2})

	c.Run = p.NextRun()
	p.must(p.Compare(loader.LaneMain, c))
	p.wantPairs("another run forgets", map[string]int64{})
	p.forgetFlows()
	p.run(k.first())
	p.wantPairs("and asks again", map[string]int64{"pass-pass": 1})
}

// A rebase has another generation and the same run: who voted has voted. A stronger pair moves the vote all the same,
// and the sum over all cells, of which one is below zero, stays that of the prefixes.
func TestARebaseKeepsTheVotes(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		k, other := r.connectFree(l, f.sources(0, 1)[0]), r.connectFree(l, f.sources(1, 2)[0])
		c := p.compare(nothing(), 500)
		p.run(k.first())
		p.wantPairs("before", map[string]int64{"pass-pass": 1})
		arms := p.counted(loader.LaneMain).Arms

		slot := p.build(deny(k.src))
		p.change(loader.Change{Candidate: &slot, Canary: new(uint16(500))})
		c.New = p.number("candidate")
		p.must(p.Compare(loader.LaneMain, c))
		if got := p.counted(loader.LaneMain).Arms; got != arms || arms == (loader.Arms{}) {
			t.Errorf("arms %+v, were %+v", got, arms)
		}
		var trial bpf.Trial
		p.must(p.pinned(bpf.DataplaneMapTrials).Lookup(uint32(loader.LaneMain), &trial))
		if sum := uint32(trial.Traffic[0]) + uint32(trial.Traffic[1]); sum != 1 {
			t.Errorf("a budget begins with %d connections, want the one that there was", sum)
		}
		p.wantPairs("counts begin anew", map[string]int64{})
		p.run(other.first())
		p.forgetFlows()
		p.run(k.first())
		p.wantPairs("moved", map[string]int64{"pass-block": 1})
		if n := p.counted(loader.LaneMain); len(n.Blame) != 1 || n.Blame[0].Votes != 1 {
			t.Errorf("blame %+v", n.Blame)
		}
	})
}

// Where a set is full nothing is counted, and that is.
func TestAFullSetCountsNothing(t *testing.T) {
	f := families[0]
	r := enter(t, f)
	r.settle()
	p := open(t).site(f, nothing())
	k := r.connectFree(r.listen(), f.sources(0, 1)[0])
	c := p.compare(deny(k.src), 0)
	var full bpf.VoteSet
	day := (loader.Now().MonotonicNS / 1e9 / 86400) & bpf.WayDays
	for i := range full.Ways {
		full.Ways[i] = uint64(i+1)<<42 | uint64(c.Run)<<bpf.WayRun | day<<bpf.WayDay | 1
	}
	p.must(support.Fill(p.pinned(bpf.DataplaneMapVotes), full))
	p.run(k.first())
	n := p.counted(loader.LaneMain)
	if len(n.Pairs) != 0 || len(n.Blame) != 0 || n.Lost == 0 || n.Connections != 1 {
		t.Errorf("counts %+v", n)
	}
	for what, free := range map[string]func(way uint64) uint64{
		"of another run": func(way uint64) uint64 { return way + 1<<bpf.WayRun },
		"of another day": func(way uint64) uint64 {
			return way&^(bpf.WayDays<<bpf.WayDay) | (day+1)&bpf.WayDays<<bpf.WayDay
		},
	} {
		c.Run = p.NextRun()
		p.must(p.Compare(loader.LaneMain, c))
		taken := full
		for i := range taken.Ways {
			way := taken.Ways[i]&^(0xffff<<bpf.WayRun) | uint64(c.Run)<<bpf.WayRun
			taken.Ways[i] = free(way)
		}
		p.must(support.Fill(p.pinned(bpf.DataplaneMapVotes), taken))
		p.forgetFlows()
		p.run(k.first())
		p.wantPairs("a place "+what, map[string]int64{"pass-block": 1})
	}
}

// Whoever meets half of a change of a lane's words compares nothing, nor where a slot holds another generation by now.
func TestATornLaneComparesNothing(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		k := r.connectFree(r.listen(), f.sources(0, 1)[0])
		c := p.compare(deny(k.src), 0)
		words := p.pinned(bpf.DataplaneMapWords)
		var whole bpf.Runtime
		p.must(words.Lookup(uint32(0), &whole))
		for name, tear := range map[string]func(*bpf.Lane){
			"another run":   func(l *bpf.Lane) { l.Where += 1 << 16 },
			"another slot":  func(l *bpf.Lane) { l.Where ^= 1 << 8 },
			"another old":   func(l *bpf.Lane) { l.Numbers++ },
			"another new":   func(l *bpf.Lane) { l.Numbers += 1 << 32 },
			"another check": func(l *bpf.Lane) { l.Check++ },
		} {
			torn := whole
			tear(&torn.Lanes[loader.LaneMain])
			p.must(words.Put(uint32(0), torn))
			p.forgetFlows()
			p.run(k.first())
			if n, running := p.counted(loader.LaneMain), torn.Lanes[0].Check; n.Connections != 0 || len(n.Pairs) != 0 {
				t.Errorf("%s: %+v with check %x", name, n, running)
			}
		}
		p.must(words.Put(uint32(0), whole))
		_, err := p.Withdraw()
		p.must(err)
		p.build(nothing()) // into the slot of what was compared
		on := true
		p.change(loader.Change{Pair: &on})
		p.forgetFlows()
		p.run(k.first())
		if n := p.counted(loader.LaneMain); n.Connections != 0 {
			t.Errorf("generation %d is not in its slot: %+v", c.New, n)
		}
		if err := p.Compare(loader.LaneMain, c); err == nil {
			t.Error("a generation that is not resident is compared")
		}
	})
}

// What strangers can forge moves no vote, no arm and no budget, with whatever address it comes.
func TestForgedPacketsMoveNothing(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		p.compare(deny(f.bot, f.protected), 500)
		sources := f.sources(0, 50)
		sources = append(sources, f.bot, f.protected)
		shows := func() {
			for i, src := range sources {
				p.run(f.syn(src).Bytes())
				p.run(f.scan(src).Bytes())
				p.run(f.data(src, uint32(1000*i), hello).Bytes())
				p.run(f.data(src, uint32(1000*i), request).Bytes())
				p.run(f.ack(src, uint32(i)).Bytes())
				p.run(f.udp(src, dnsPort).Bytes())
			}
		}
		shows()
		n := p.counted(loader.LaneMain)
		if len(n.Pairs)+len(n.Blame)+len(n.Hits) != 0 || n.Arms != (loader.Arms{}) || n.Connections != 0 ||
			n.Unconfirmed == 0 {
			t.Errorf("counts %+v", n)
		}
		_, err := p.Withdraw()
		p.must(err)
		p.holdToBudget(deny(append(sources, f.other)...))
		p.resetTrial(0, 0)
		shows()
		n = p.counted(loader.LaneMain)
		if len(n.Pairs)+len(n.Hits) != 0 || p.Tripped() != (loader.Trips{}) {
			t.Errorf("counts %+v, tripped %+v", n, p.Tripped())
		}
	})
}

// A protected source that would newly be blocked is named with its class, once somebody vouches for it.
func TestProtectedHitIsNamed(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		p.compare(deny(f.protected, f.bot), 0)
		p.wantBytes("a protected source", r.connect(l, f.protected, true).first(), passes("not_hello"))
		n := p.counted(loader.LaneMain)
		if len(n.Hits) != 1 || n.Hits[0].Source != f.protected || n.Hits[0].Class != loader.ClassAllowlist ||
			n.Hits[0].Rule != 0 {
			t.Errorf("hits %+v", n.Hits)
		}
		p.wantPairs("it votes", map[string]int64{"pass-block protected": 1})
	})
}

// A restart in the middle finds what is compared, and what was counted.
func TestLanesOutliveTheAgent(t *testing.T) {
	f := families[0]
	r := enter(t, f)
	r.settle()
	p := open(t).site(f, nothing())
	k := r.connectFree(r.listen(), f.sources(0, 1)[0])
	c := p.compare(deny(k.src), 0)
	p.run(k.first())
	again, err := loader.Adopt(p.Pins)
	p.must(err)
	defer func() { _ = again.Close() }()
	if got, ok := again.Running(loader.LaneMain); !ok || got != c {
		t.Errorf("running %+v, %v", got, ok)
	}
	p.must(again.Compare(loader.LaneMain, c)) // the same changes nothing
	n, err := again.Counts(loader.LaneMain)
	p.must(err)
	if pairsOf(n)["pass-block"] != 1 || n.New != c.New {
		t.Errorf("counts %+v", n)
	}
	p.must(again.Stop(loader.LaneMain))
	if _, ok := p.Running(loader.LaneMain); ok {
		t.Error("it runs after it was stopped")
	}
	p.forgetFlows()
	p.run(k.first())
	if n := p.counted(loader.LaneMain); n.Connections != 1 || pairsOf(n)["pass-block"] != 1 {
		t.Errorf("what it counted cannot be read: %+v", n)
	}
}

// What stands beside the candidate is compared, decides for nobody, and keeps its slot.
func TestBesideKeepsItsSlot(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		k := r.connectFree(r.listen(), f.sources(0, 1)[0])
		main := p.compare(nothing(), 0)
		slot := p.build(deny(k.src))
		p.must(p.SetBeside(slot))
		for range 2 * bpf.Slots {
			if other := p.build(nothing()); other == slot {
				t.Fatalf("slot %d was built anew", slot)
			}
		}
		fast := loader.Comparison{Run: p.NextRun(), Old: p.number("stable"), New: p.number(loader.RoleBeside)}
		p.must(p.Compare(loader.LaneFast, fast))
		p.wantBytes("it decides for nobody", k.first(), passes("not_hello"))
		p.wantPairs("the main lane", map[string]int64{"pass-pass": 1})
		if got := pairsOf(p.counted(loader.LaneFast)); got["pass-block"] != 1 || len(got) != 1 {
			t.Errorf("the fast lane: %v", got)
		}
		if err := p.SetBeside(p.Control().Stable); err == nil {
			t.Error("stable stands beside itself")
		}
		p.must(p.SetBeside(bpf.SlotEmpty))
		if main.New != p.number("candidate") {
			t.Error("the candidate is another")
		}
	})
}
