// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// killStates are the states of a dataplane in which somebody may want everything to pass.
var killStates = []struct {
	name string
	make func(*plane, family)
	bot  func() result // what becomes of a denied SYN while the switch is off
}{
	{"no bundle", func(p *plane, f family) { p.publish(f.site(), nothing()) },
		func() result { return passes("no_match") }},
	{"stable", func(*plane, family) {}, func() result { return drops("prefix") }},
	{"observe", func(p *plane, f family) { p.mode(config.ModeObserve) }, func() result { return would("prefix") }},
	{"a candidate that nobody meets", func(p *plane, f family) { p.try(nothing(), 0) },
		func() result { return drops("prefix") }},
	{"a candidate for half", func(p *plane, f family) { p.try(f.usual().bundle(), 500) }, nil},
	{"a candidate for all", func(p *plane, f family) { p.swap(nothing()); p.try(f.usual().bundle(), 1000) },
		func() result { return drops("prefix").by("candidate") }},
	{"between two generations", func(p *plane, f family) { p.build(nothing()) }, func() result { return drops("prefix") }},
	{"a lease that ended", func(p *plane, f family) { p.try(nothing(), 1000); p.SetLease(1) },
		func() result { return drops("prefix") }},
	{"a tripped candidate", func(p *plane, f family) { p.try(nothing(), 1000); p.SetTripped(p.number("candidate")) },
		func() result { return drops("prefix") }},
	{"a promoted candidate", func(p *plane, f family) {
		p.try(f.usual().bundle(), 1000)
		_, err := p.Promote()
		p.must(err)
	}, func() result { return drops("prefix") }},
	{"rolled back", func(p *plane, f family) {
		p.swap(nothing())
		_, err := p.Rollback()
		p.must(err)
	}, func() result { return drops("prefix") }},
	{"an empty slot", func(p *plane, f family) {
		_, err := p.DropGenerations()
		p.must(err)
	}, func() result { return passes("no_generation").by("none") }},
	{"a banned source", func(p *plane, f family) { p.must(p.Ban(host(f.bot), time.Hour)) },
		func() result { return drops("ban").by("none") }},
	{"an agent that is gone", func(p *plane, f family) {
		h := f.site()
		h.Guards.AgentTimeout = config.Timeout(1)
		p.publishHost(h)
		p.poll("a heartbeat that is too old", func() bool { return p.send(f.syn(f.bot).Bytes()) == passes("agent_lost") })
	}, func() result { return passes("agent_lost") }},
	{"a bypass of the service", func(p *plane, f family) { p.SetServiceBypass(p.id("web"), loader.DeadlineForever) },
		func() result { return undecided("web", "service_bypass") }},
}

// A16: whatever state the dataplane is in, the switch lets a denied packet pass before the dataplane sees it, and ends
// with everything as it was.
func TestA16KillSwitchInEveryState(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, s := range killStates {
			t.Run(s.name, func(t *testing.T) {
				p := borrow(t).site(f, f.usual().bundle())
				s.make(p, f)
				is := func(what string) {
					if s.bot != nil {
						p.want(what, f.syn(f.bot), s.bot())
					}
				}
				is("off")
				p.SetBypass(loader.DeadlineForever)
				p.wantUncounted("on", f.syn(f.bot))
				p.SetBypass(0)
				is("off again")
			})
		}
	})
}

// A16: with nothing behind the root program everything passes whatever the switch says, and it holds once something is.
func TestA16KillSwitchWithoutADataplane(t *testing.T) {
	f := families[0]
	p := open(t).site(f, f.usual().bundle())
	p.SetBypass(loader.DeadlineForever)
	p.must(p.pinned(bpf.RootMapRootNext).Delete(uint32(0)))
	p.wantUncounted("on, and nothing behind it", f.syn(f.bot))
	p.must(p.RefillPrograms())
	p.wantUncounted("on, and filled again", f.syn(f.bot))
	p.SetBypass(0)
	p.want("off", f.syn(f.bot), drops("prefix"))
}
