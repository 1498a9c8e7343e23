// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// "A flow stores the deciding slot, generation, epoch and the rule's expiry."
func TestFlowStoresWhoDecided(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		until := time.Now().Add(time.Hour)
		p := borrow(t).site(f, rules().rule("other", 1).ruleUntil("bad", 90, until).list("own", "bad", host(f.bot)).bundle())
		p.must(p.Ban(host(f.other), time.Hour))
		k := r.visit(f.bot)
		p.wantBytes("a bot's first payload", k.write(request), drops("prefix"))
		flow := p.wantFlow("a bot", verdictDrop, confirmed|firstPayload)
		control, at := p.Control(), key(f.bot, f.server, clientPort, webPort)
		want := bpf.Flow{
			ExpiresNs: flow.ExpiresNs, Epoch: control.Epoch, Isn: k.isn, BanEpoch: uint32(p.BanEpoch()),
			Generation: p.number("stable"),
			Verdict:    verdictDrop, Reason: uint8(bpf.ReasonPrefix), Slot: control.Stable,
			Flags: confirmed | firstPayload | uint8(bpf.FlowCounted|bpf.FlowRead), Rule: 1, Score: 90,
			HelloEnd: uint32(len(request)), Saddr: at.Saddr, Daddr: at.Daddr,
		}
		if flow != want {
			t.Errorf("the flow is\n%+v, want\n%+v", flow, want)
		}
		left := loader.Deadline(flow.ExpiresNs).Left()
		if drift := time.Until(until) - left; drift < -time.Second || drift > time.Second {
			t.Errorf("the flow ends in %v, its rule in %v", left, time.Until(until))
		}
	})
}

// ways are the ways of taking back a block, and what the packet after it gets.
var ways = map[string]struct {
	host      bool // the host file changes
	candidate bool // the block is the candidate's, the stable generation does not make it
	takeBack  func(*plane, family)
	want      result
}{
	"the generation is rolled back": {takeBack: func(p *plane, _ family) {
		_, err := p.Rollback()
		p.must(err)
	}, want: passes("no_match")},
	"all generations are dropped": {takeBack: func(p *plane, _ family) {
		_, err := p.DropGenerations()
		p.must(err)
	}, want: undecided("web", "no_generation")},
	"the mode goes back to observe": {takeBack: func(p *plane, _ family) {
		p.mode(config.ModeObserve)
	}, want: would("prefix")},
	"the candidate is withdrawn": {candidate: true, takeBack: func(p *plane, _ family) {
		_, err := p.Withdraw()
		p.must(err)
	}, want: passes("no_match")},
	"the candidate's lease is dead": {candidate: true, takeBack: func(p *plane, _ family) {
		p.SetLease(1)
	}, want: passes("no_match")},
	"the candidate's breaker tripped": {candidate: true, takeBack: func(p *plane, _ family) {
		p.SetTripped(p.number("candidate"))
	}, want: passes("no_match")},
	"the canary's share shrinks": {candidate: true, takeBack: func(p *plane, _ family) {
		p.change(loader.Change{Canary: new(uint16(0))})
	}, want: passes("no_match")},
	"the policy is never": {takeBack: func(p *plane, f family) {
		p.swap(rules().rule("bad", 100).list("own", "bad", host(f.bot)).drop("default", config.Never).bundle())
	}, want: passes("below_threshold")},
	"the service goes": {host: true, takeBack: func(p *plane, f family) {
		h := f.site()
		h.Services = h.Services[1:]
		p.publishHost(h)
	}, want: undecided("none", "not_service")},
}

// "A stored block holds only while that generation may enforce now, and the rule has not expired. So a mistaken drop
// heals on the client's next packet": each way of taking back, and the packet after it.
func TestABlockedFlowHeals(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		for name, way := range ways {
			stored := drops("prefix")
			if way.candidate {
				p.try(deny(f.bot), 1000)
				stored = stored.by("candidate")
			} else {
				p.swap(deny(f.bot))
			}
			k := r.connect(l, f.bot, true)
			p.wantBytes(name+": the first payload", k.write(request), stored)
			p.want(name+": its retransmission", k.at(0, request), stored)
			way.takeBack(p, f)
			p.want(name+": the next retransmission", k.at(0, request), way.want)
			if way.want.Service == "web" {
				p.wantFlow(name+": healed", verdictPass, confirmed|firstPayload)
			}
			p.want(name+": more data", k.at(100, request), after(way.want))
			k.reset()
			p.renew(f, way.host)
		}
	})
}

// after is what a healed flow gets from then on.
func after(healed result) result {
	if healed.Service == "none" {
		return healed
	}
	return known()
}

// A lease that dies gives the flow to the stable generation; what that one blocks stays blocked.
func TestStableTakesOverABlock(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		p.try(deny(f.bot, f.other), 1000)
		k := r.visit(f.bot)
		p.wantBytes("the first payload", k.write(request), drops("prefix").by("candidate"))
		p.wantBytes("more", k.write(request), drops("prefix").by("candidate"))
		p.SetLease(0)
		p.wantBytes("the lease is dead", k.write(request), drops("prefix"))
		p.wantBytes("the block is stable's now", k.write(request), drops("prefix"))

		p.SetLease(loader.In(time.Hour))
		_, err := p.Promote()
		p.must(err)
		p.wantBytes("promoted", k.write(request), drops("prefix"))
		p.wantBytes("and stored", k.write(request), drops("prefix"))
		_, err = p.Rollback()
		p.must(err)
		p.wantBytes("rolled back to one that blocks it too", k.write(request), drops("prefix"))
	})
}

// The deciding rule's end is the block's end.
func TestABlockEndsWithItsRule(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		var k *conn
		data := func() []byte { return k.at(0, request).Bytes() }
		end := p.swapExpiring(func(until time.Time) *draft {
			if k != nil {
				k.reset()
			}
			k = r.connect(l, f.bot, true)
			return rules().ruleUntil("short", 100, until).list("own", "short", host(f.bot))
		}, func() bool { return p.send(data()) == drops("prefix") && p.send(data()) == drops("prefix") })
		p.poll("a rule that ends", func() bool { return p.send(data()) != drops("prefix") })
		if time.Now().Before(end) {
			t.Error("the block ended before its rule")
		}
		p.wantFlow("healed", verdictPass, confirmed|firstPayload)
		p.want("more data", k.at(100, request), known())
	})
}

// An agent that is gone too long lets everything pass, and forgets nothing: when one is back, the block holds again.
func TestLostAgentSuspendsABlock(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		k := r.visit(f.bot)
		p.wantBytes("the first payload", k.write(request), drops("prefix"))
		h := f.site()
		h.Guards.AgentTimeout = config.Timeout(1)
		p.publishHost(h)
		p.poll("a heartbeat that is too old", func() bool {
			return p.send(k.at(0, request).Bytes()) == passes("agent_lost")
		})
		p.wantFlow("the verdict is kept", verdictDrop, confirmed|firstPayload)
		p.publishHost(f.site())
		p.want("an agent is back", k.at(0, request), drops("prefix"))
		p.want("and the verdict is stored", k.at(0, request), drops("prefix"))
	})
}

// A bypass lets a blocked flow pass while it is on, and forgets nothing.
func TestBypassSuspendsABlock(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		k := r.visit(f.bot)
		p.wantBytes("the first payload", k.write(request), drops("prefix"))
		p.SetBypass(loader.DeadlineForever)
		p.wantUncounted("bypass", k.at(0, request))
		p.SetBypass(0)
		p.SetServiceBypass(p.id("web"), loader.DeadlineForever)
		p.want("bypass of the service", k.at(0, request), undecided("web", "service_bypass"))
		p.SetServiceBypass(p.id("web"), 0)
		p.want("off", k.at(0, request), drops("prefix"))
	})
}
