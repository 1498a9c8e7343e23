// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	support "github.com/spillway/spillway/test/support/plane"
)

// window returns the number of the budget's window, as bpf/charge.h counts it.
func window() uint32 { return uint32(loader.Now().MonotonicNS/1e9/10) + 1 }

// look is what a test saw within one window of the budget.
type look struct {
	p      *plane
	failed []string
}

func (l *look) errorf(format string, args ...any) {
	l.failed = append(l.failed, fmt.Sprintf(format, args...))
}

func (l *look) want(what string, frame []byte, want result) {
	l.p.t.Helper()
	if diff := cmp.Diff(want, l.p.send(frame)); diff != "" {
		l.errorf("%s (-want +got):\n%s", what, diff)
	}
}

// drops sends the frame of each connection.
func (l *look) drops(what string, conns []*conn) {
	l.p.t.Helper()
	for i, k := range conns {
		if got := l.p.run(k.first()); got != "XDP_DROP" {
			l.errorf("%s: prefix %d: %s", what, i, got)
		}
	}
}

// untilCoarse waits until the clock that the programs read, which moves with the ticks of a processor, has come as far.
func untilCoarse(t *testing.T, ns uint64) {
	t.Helper()
	for {
		var coarse unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &coarse); err != nil {
			t.Fatal(err)
		}
		if uint64(coarse.Nano()) >= ns {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// inWindow runs a test that must see one window from its beginning to its end. What it says counts if it did; else it
// begins again.
func (p *plane) inWindow(test func(*look)) {
	p.t.Helper()
	for range 10 {
		if left := 10*time.Second - time.Duration(loader.Now().MonotonicNS%10e9); left < 3*time.Second {
			time.Sleep(left) // until the next one: there is nothing else to wait for
		}
		untilCoarse(p.t, loader.Now().MonotonicNS)
		l, was := &look{p: p}, window()
		test(l)
		p.catchUp()
		if window() != was {
			continue
		}
		for _, why := range l.failed {
			p.t.Error(why)
		}
		return
	}
	p.t.Fatal("no window was long enough")
}

// resetTrial forgets what was charged, and says how many connections the last window had, and this one had so far.
func (p *plane) resetTrial(connections, now uint32) {
	p.t.Helper()
	this := window()
	last := this - 1
	var trial bpf.Trial
	trial.Traffic[last&1] = uint64(last)<<32 | uint64(connections)
	trial.Traffic[this&1] = uint64(this)<<32 | uint64(now)
	p.must(p.pinned(bpf.DataplaneMapTrials).Put(uint32(loader.LaneMain), trial))
	p.must(p.Forget(bpf.DataplaneMapMarks))
	p.must(p.ForgetTrips())
	p.forgetFlows()
}

// A generation that bakes may newly block max(20, 0.1 % of the connections of the last window, or of this one where it
// has more) prefixes in a window by what it did not declare, and what a person accepted beside, each as often as it
// comes. With the next one it has tripped: that one passes, and everybody is judged by the generation before, stored
// blocks included. What that blocks stays blocked.
func TestBudgetTripsAtExactlyItsEnd(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		both := r.connectFree(l, f.group(500).Addr().Next())
		bots := r.crowd(l, f.sources(0, 62)...)
		var sources []netip.Addr
		for _, k := range bots {
			sources = append(sources, k.src)
		}
		p.swap(deny(both.src))
		c := p.holdToBudget(deny(append(sources, both.src)...))
		for _, budget := range []struct {
			connections, now uint32
			allowed          uint16
			most             int
		}{
			{0, 0, 0, 20}, {20_999, 0, 0, 20}, {21_000, 0, 0, 21}, {60_000, 0, 0, 60}, {0, 25_000, 0, 25},
			{30_000, 25_000, 0, 30}, {500, 0, 39, 20}, {500, 0, 41, 21}, {1000, 0, 59, 60},
		} {
			c.Allowed = budget.allowed
			p.must(p.Compare(loader.LaneMain, c))
			if got, _ := p.Running(loader.LaneMain); got != c {
				t.Errorf("the lane compares %+v, want %+v", got, c)
			}
			p.inWindow(func(l *look) {
				what := fmt.Sprintf("%+v", budget)
				p.resetTrial(budget.connections, budget.now)
				l.drops(what, bots[:budget.most])
				l.drops(what+": stored", bots[:budget.most])
				p.forgetFlows() // their next packets are first payloads again, of prefixes that were charged
				l.drops(what+": again", bots[:budget.most])
				if p.Tripped().HasSpent(c.New) {
					l.errorf("%s: tripped within a budget of %d", what, budget.most)
				}
				p.catchUp()
				l.want("one more", bots[budget.most].first(), passes("on_trial"))
				if !p.Tripped().HasSpent(c.New) {
					l.errorf("%s: tripped %+v, want %d", what, p.Tripped(), c.New)
				}
				l.want("a stored block heals", bots[0].first(), passes("no_match").by("previous"))
				l.want("its SYN", f.syn(bots[1].src).Bytes(), passes("no_match").by("previous"))
				l.want("what both block", both.first(), drops("prefix").by("previous"))
				l.want("and again", both.first(), drops("prefix").by("previous"))
			})
		}
		p.change(loader.Change{Budget: new(bool)})
		p.forgetFlows()
		p.catchUp()
		p.wantBytes("a trip is of a budget", bots[2].first(), drops("prefix"))
	})
}

// Of two rollouts that use up their budgets each has its word: neither the trip of the other, nor a lease that lapses,
// brings back what has tripped.
func TestATripIsItsLanesAlone(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		fast, main := r.crowd(l, f.sources(0, 21)...), r.crowd(l, f.sources(100, 121)...)
		var ofFast, ofMain []netip.Addr
		for i := range fast {
			ofFast, ofMain = append(ofFast, fast[i].src), append(ofMain, main[i].src)
		}
		on, old := true, p.number("stable")
		slot := p.build(deny(ofFast...))
		p.change(loader.Change{Stable: &slot})
		p.try(deny(ofMain...), 1000)
		p.change(loader.Change{Pair: &on, Budget: &on})
		stable, candidate := p.number("stable"), p.number("candidate")
		p.must(p.Compare(loader.LaneFast, loader.Comparison{Run: p.NextRun(), Old: old, New: stable}))
		p.must(p.Compare(loader.LaneMain, loader.Comparison{Run: p.NextRun(), Old: stable, New: candidate}))
		p.inWindow(func(l *look) {
			p.resetTrial(0, 0)
			l.drops("the candidate's", main[:20])
			p.catchUp()
			l.want("one more", main[20].first(), passes("on_trial").by("candidate"))
			l.want("the candidate decides no more", main[0].first(), passes("no_match"))
			l.drops("stable's", fast[:20])
			p.catchUp()
			l.want("one more of stable", fast[20].first(), passes("on_trial"))
			l.want("previous decides", fast[0].first(), passes("no_match").by("previous"))
			spent := p.Tripped().Spent
			if spent[loader.LaneMain][0] != candidate || spent[loader.LaneFast][0] != stable {
				l.errorf("spent %+v, want %d and %d", spent, candidate, stable)
			}
			p.SetTripped(candidate)
			l.want("a lease that lapsed", f.syn(ofFast[1]).Bytes(), passes("no_match").by("previous"))
			p.SetTripped(0)
		})
		p.change(loader.Change{Budget: new(bool)})
		p.catchUp()
		p.wantBytes("the candidate stays tripped", f.syn(ofMain[1]).Bytes(), passes("no_match"))
	})
}

// Processors that judge at once never charge one prefix more than the budget, and it trips. In that moment each of them
// may let pass what it has just charged, or drop a second packet of a connection that another is about to let pass:
// that packet comes again.
func TestProcessorsShareABudget(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		bots := r.crowd(r.listen(), f.sources(0, 60)...)
		var sources []netip.Addr
		var frames [][]byte
		for _, k := range bots {
			sources = append(sources, k.src)
			frames = append(frames, k.first())
		}
		c := p.holdToBudget(deny(sources...))
		for range 10 {
			p.inWindow(func(l *look) {
				p.resetTrial(0, 0)
				const threads = 4
				blocked := len(p.together(threads, frames))
				var trial bpf.Trial
				p.must(p.pinned(bpf.DataplaneMapTrials).Lookup(uint32(loader.LaneMain), &trial))
				if n := uint32(trial.Charged); n != 20 || !p.Tripped().HasSpent(c.New) {
					l.errorf("%d prefixes were charged, tripped %+v", n, p.Tripped())
				}
				if blocked <= 20-threads || blocked >= 20+threads {
					l.errorf("%d prefixes were blocked", blocked)
				}
			})
		}
	})
}

// together has several threads of the room send all frames, each in an order of its own, three times, and returns which
// were blocked at least once.
func (p *plane) together(threads int, frames [][]byte) map[int]bool {
	p.t.Helper()
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	p.must(err)
	defer func() { _ = unix.Close(own) }()
	blocked := make([]atomic.Bool, len(frames))
	var sent atomic.Uint64
	var wg sync.WaitGroup
	for thread := range threads {
		wg.Go(func() {
			lockIn(p.t, own)
			for i := range 3 * len(frames) {
				at := (i*(2*thread+7) + thread*17) % len(frames)
				action, _, err := p.Run(frames[at])
				if err != nil {
					p.t.Error(err)
				}
				sent.Add(1)
				if actionName(action) == "XDP_DROP" {
					blocked[at].Store(true)
				}
			}
		})
	}
	wg.Wait()
	p.sent += sent.Load()
	all := map[int]bool{}
	for i := range blocked {
		if blocked[i].Load() {
			all[i] = true
		}
	}
	return all
}

// What is declared costs no budget, nor does what the generation before blocks too.
func TestDeclaredBlocksCostNothing(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		bots := r.crowd(r.listen(), f.sources(0, 30)...)
		var sources []netip.Addr
		for _, k := range bots {
			sources = append(sources, k.src)
		}
		for name, c := range map[string]struct{ old, new *config.Bundle }{
			"declared": {nothing(), denyDeclared(sources...)}, "both": {deny(sources...), deny(sources...)},
		} {
			p.swap(c.old)
			p.holdToBudget(c.new)
			p.resetTrial(0, 0) // 30 would be too many in whichever window they fall
			for _, k := range bots {
				if got := p.run(k.first()); got != "XDP_DROP" {
					t.Errorf("%s: %s", name, got)
				}
			}
			if p.Tripped() != (loader.Trips{}) {
				t.Errorf("%s: tripped", name)
			}
		}
	})
}

// Under a budget that no lane can charge, a generation blocks what the one before blocks too, and what it declared.
func TestABudgetWithoutALaneBlocksNothingMore(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.sources(0, 2)...)
		p.swap(deny(all[0].src))
		p.holdToBudget(deny(all[0].src, all[1].src))
		p.must(p.Stop(loader.LaneMain))
		p.wantBytes("what both block", all[0].first(), drops("prefix"))
		p.wantBytes("an extra block", all[1].first(), passes("on_trial"))
		p.wantBytes("and again", all[1].first(), passes("on_trial"))
		p.forgetFlows()
		back := p.away(bpf.ProgramPair)
		p.wantBytes("nothing that compares: what both block", all[0].first(), drops("prefix"))
		p.wantBytes("nothing that compares: an extra block", all[1].first(), passes("on_trial"))
		back()
		p.forgetFlows()
		slot := p.build(denyDeclared(all[1].src))
		p.change(loader.Change{Stable: &slot, KeepPrevious: true, Pair: new(true), Budget: new(true)})
		p.wantBytes("what is declared", all[1].first(), drops("prefix"))
	})
}

// A generation that is built again while it bakes stays under its budget, and one that tripped has tripped.
func TestABudgetOutlivesARebuild(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.sources(0, 23)...)
		var bots []netip.Addr
		for _, k := range all {
			bots = append(bots, k.src)
		}
		p.swap(deny())
		c := p.holdToBudget(deny(bots...))
		again := func(was uint32) uint32 {
			slot := p.build(deny(bots...))
			generations, err := p.Generations()
			p.must(err)
			var now uint32
			for _, g := range generations {
				if g.Slot == slot {
					now = g.Number
				}
			}
			p.change(loader.Change{Stable: &slot, KeepPrevious: true, Rebuilt: loader.Rebuilt{Was: was, Now: now}})
			if word := p.Control(); !word.Pair || !word.Budget || p.number("stable") != now {
				t.Errorf("control word %+v, stable %d, built again as %d", word, p.number("stable"), now)
			}
			return now
		}
		second := again(c.New)
		p.wantBytes("no lane names it yet", all[0].first(), passes("on_trial"))
		p.must(p.Compare(loader.LaneMain, loader.Comparison{Run: c.Run, Old: c.Old, New: second}))
		p.forgetFlows()
		for tries := 0; !p.Tripped().HasSpent(second); tries++ {
			if tries == 3 {
				t.Fatal("it never tripped")
			}
			p.resetTrial(0, 0)
			for _, k := range all {
				p.run(k.first())
			}
		}
		third := again(second)
		if !p.Tripped().HasSpent(third) {
			t.Errorf("built again as %d, tripped %+v", third, p.Tripped())
		}
		p.must(p.Compare(loader.LaneMain, loader.Comparison{Run: c.Run, Old: c.Old, New: third}))
		p.forgetFlows()
		p.wantBytes("it had tripped", all[0].first(), passes("not_hello").by("previous"))
		if fourth := again(third); !p.Tripped().HasSpent(fourth) {
			t.Errorf("built again as %d, tripped %+v", fourth, p.Tripped())
		}
	})
}

// Where there is no room to say that a prefix was charged, nothing is charged, and it passes.
func TestWhatCannotBeChargedPasses(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		bot := r.connectFree(r.listen(), f.sources(0, 1)[0])
		p.holdToBudget(deny(bot.src))
		p.inWindow(func(l *look) {
			p.resetTrial(0, 0)
			lost := p.counted(loader.LaneMain).Lost
			full := bpf.VoteSet{Ways: [8]uint64(slices.Repeat([]uint64{1<<40 | uint64(window()%0xffff+1)}, 8))}
			p.must(support.Fill(p.pinned(bpf.DataplaneMapMarks), full))
			p.catchUp()
			l.want("no room", bot.first(), passes("on_trial"))
			if p.Tripped() != (loader.Trips{}) || p.counted(loader.LaneMain).Lost != lost+1 {
				l.errorf("tripped %+v, lost %d", p.Tripped(), p.counted(loader.LaneMain).Lost-lost)
			}
		})
		p.must(p.Forget(bpf.DataplaneMapMarks))
		p.forgetFlows()
		p.catchUp()
		p.wantBytes("room", bot.first(), drops("prefix"))
	})
}
