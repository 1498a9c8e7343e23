// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

func tags(reason string) result { return result{"XDP_PASS", "web", "stable", reason, "tag"} }

// limits is a connection beyond its limit; held is one in observe mode.
func limits(reason string) result { return result{"XDP_DROP", "web", "stable", reason, "limit"} }
func held(reason string) result   { return result{"XDP_PASS", "web", "stable", reason, "would_limit"} }

// policy sets that of all services.
func (d *draft) policy(p config.Policy) *draft {
	d.b.Policy[config.DefaultPolicy] = p
	return d
}

// ruleSays is a rule with a verdict.
func (d *draft) ruleSays(id string, v config.RuleVerdict) *draft {
	d.b.Rules = append(d.b.Rules, config.Rule{ID: id, Label: id, Verdict: v})
	return d
}

// rate admits one connection in a time.
func rate(every time.Duration, burst uint32, by config.LimitKey) config.Rate {
	return config.Rate{Connections: config.Frequency{Count: 1, Per: every}, Burst: burst, By: by, Over: config.OverDrop,
		Shared: 1}
}

// limited is a bundle that limits sources of some prefixes.
func limited(r config.Rate, from ...netip.Prefix) *draft {
	d := rules().rule("crawl", 60).policy(config.Policy{Tag: 20, Limit: 50, Drop: 80, Rate: r})
	for _, p := range from {
		d.list("own", "crawl", p)
	}
	return d
}

// flowOf returns what is kept of a connection.
func (p *plane) flowOf(k *conn) bpf.Flow {
	p.t.Helper()
	for _, flow := range p.flows() {
		if flow.Isn == k.isn {
			return flow
		}
	}
	p.t.Fatalf("nothing is kept of the connection from %s", k.src)
	return bpf.Flow{}
}

// clock is the time of a dataplane that a test sets.
type clock struct {
	p   *plane
	now uint64
}

// stopClock has the test say what time it is, from now on.
func (p *plane) stopClock() *clock {
	p.t.Helper()
	p.must(p.StopClock())
	c := &clock{p: p, now: loader.Now().MonotonicNS}
	c.pass(0)
	return c
}

func (c *clock) pass(d time.Duration) {
	c.p.t.Helper()
	c.now += uint64(d)
	words := c.p.pinned(bpf.DataplaneMapWords)
	var w bpf.Runtime
	c.p.must(words.Lookup(uint32(0), &w))
	w.ClockNs = c.now
	c.p.must(words.Put(uint32(0), &w))
}

// As many connections as the burst pass, and are tagged; the others are blocked, and the key of somebody else has all
// of its rate. A blocked one waits: once there is room, its next packet brings it through.
func TestALimitLetsConnectionsWait(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		time0, same, other := p.stopClock(), hosts(f.group(0)), hosts(f.group(1))
		l := r.listen()
		all := r.crowd(l, same[0], same[1], same[0].Next(), same[0].Next().Next(), other[0])
		p.swap(limited(rate(10*time.Second, 2, config.LimitByPrefix), f.group(0), f.group(1)).bundle())
		p.wantBytes("its SYN passes, whatever comes", all[0].syn, passes("prefix"))
		p.wantBytes("the first", all[0].first(), tags("prefix"))
		p.wantBytes("the second", all[1].first(), tags("prefix"))
		p.wantBytes("the third", all[2].first(), limits("prefix"))
		p.wantBytes("the fourth", all[3].first(), limits("prefix"))
		p.wantBytes("of another prefix", all[4].first(), tags("prefix"))
		p.wantBytes("what passes is known", all[0].at(uint32(len(request)), request).Bytes(), known())
		time0.pass(9 * time.Second)
		p.wantBytes("the third waits", all[2].first(), limits("prefix"))
		time0.pass(1100 * time.Millisecond)
		p.wantBytes("there is room for it", all[2].first(), result{"XDP_PASS", "web", "stable", "prefix", "pass"})
		p.wantBytes("it goes on", all[2].at(uint32(len(request)), request).Bytes(), known())
		p.wantBytes("and took the room", all[3].first(), limits("prefix"))
		time0.pass(10100 * time.Millisecond)
		p.wantBytes("the fourth comes through as well", all[3].first(), result{"XDP_PASS", "web", "stable", "prefix", "pass"})
		for i, hint := range []uint8{uint8(bpf.HintTagged), uint8(bpf.HintTagged), uint8(bpf.HintTagged)} {
			if got := p.flowOf(all[i]).Hint; got&hint == 0 || got&uint8(bpf.HintCharged) == 0 {
				t.Errorf("connection %d has the hints %#x", i, got)
			}
		}
	})
}

// A connection is counted once: as tagged or as limited, and not again where it comes through.
func TestALimitedConnectionCountsOnce(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		time0, all := p.stopClock(), r.crowd(r.listen(), hosts(f.group(0))...)
		p.swap(limited(rate(time.Second, 1, config.LimitByPrefix), f.group(0)).bundle())
		p.wantDecided("within", all[0].at(0, request), tags("prefix"), "web prefix tag")
		p.wantDecided("over", all[1].at(0, request), limits("prefix"), "web prefix limit")
		p.wantDecided("again", all[1].at(0, request), limits("prefix"))
		time0.pass(2 * time.Second)
		p.wantDecided("through", all[1].at(0, request), result{"XDP_PASS", "web", "stable", "prefix", "pass"})
	})
}

// Nobody is charged with what strangers can send, and a connection is charged once, whatever it sends.
func TestALimitIsChargedOncePerConnection(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		same := hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1], same[0].Next())
		p.stopClock()
		p.swap(limited(rate(time.Hour, 2, config.LimitByPrefix), f.group(0)).bundle())
		for range 5 {
			p.want("a forged hello", f.data(f.group(0).Addr().Next().Next().Next(), botISN+1, hello), passes("prefix"))
			p.wantBytes("a SYN", all[0].syn, passes("prefix"))
			p.want("data that begins early", all[0].at(^uint32(0), request), limits("prefix"))
		}
		p.wantBytes("the first", all[0].first(), tags("prefix"))
		other := append([]byte(nil), request...)
		other[5] = 'x'
		p.want("with other bytes", all[0].at(0, other), tags("prefix"))
		p.wantBytes("the second", all[1].first(), tags("prefix"))
		p.wantBytes("the third", all[2].first(), limits("prefix"))
	})
}

// In observe mode a limit is charged as it would be, and blocks nobody.
func TestALimitIsObserved(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.group(0).Addr().Next(), f.group(0).Addr().Next().Next())
		p.mode(config.ModeObserve)
		p.swap(limited(rate(time.Hour, 1, config.LimitByPrefix), f.group(0)).bundle())
		p.wantBytes("within", all[0].first(), tags("prefix"))
		p.wantBytes("over", all[1].first(), held("prefix"))
		p.wantBytes("it goes on", all[1].at(uint32(len(request)), request).Bytes(), known())
		p.mode(config.ModeEnforce)
		p.wantBytes("and is not cut by the mode", all[1].at(uint32(len(request)), request).Bytes(), known())
	})
}

// Each source has its own rate where the limit is by source; of IPv6 a source is its /64.
func TestALimitBySource(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		same := hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1], same[0].Next())
		p.swap(limited(rate(time.Hour, 1, config.LimitBySource), f.group(0)).bundle())
		p.wantBytes("one", all[0].first(), tags("prefix"))
		p.wantBytes("another", all[1].first(), tags("prefix"))
		want := tags("prefix")
		if f.visitor.Is6() {
			want = limits("prefix") // of the same /64
		}
		p.wantBytes("its neighbour", all[2].first(), want)
	})
}

// Beyond a limit that resets, both sides are told, as soon as the generation is stable.
func TestALimitMayReset(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.group(0).Addr().Next(), f.group(0).Addr().Next().Next())
		reset := rate(time.Hour, 1, config.LimitByPrefix)
		reset.Over = config.OverReset
		p.swap(limited(reset, f.group(0)).bundle())
		p.wantBytes("within", all[0].first(), tags("prefix"))
		action, out, err := p.Run(all[1].first())
		p.must(err)
		p.sent++
		if actionName(action) != "XDP_PASS" || len(out) >= len(all[1].first()) {
			t.Errorf("over: %s, %d bytes", actionName(action), len(out))
		}
		p.catchUp()
		if v := p.flowOf(all[1]).Verdict; v != uint8(bpf.VerdictReset) {
			t.Errorf("the flow's verdict is %d", v)
		}
	})
}

// Two generations with the same limit charge it once; one with another limit charges its own, and votes for what it
// would block.
func TestALimitOnTrial(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		same := hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1], same[0].Next(), same[0].Next().Next())
		p.swap(limited(rate(time.Hour, 2, config.LimitByPrefix), f.group(0)).bundle())
		p.compare(limited(rate(time.Hour, 2, config.LimitByPrefix), f.group(0)).rule("more", 1).bundle(), 0)
		p.wantBytes("the first", all[0].first(), tags("prefix"))
		p.wantBytes("the second", all[1].first(), tags("prefix"))
		p.wantBytes("the third", all[2].first(), limits("prefix"))
		p.wantPairs("both agree", map[string]int64{"block-block": 1})
		_, err := p.Withdraw()
		p.must(err)
		p.forgetFlows()
		p.swap(limited(rate(time.Hour, 3, config.LimitByPrefix), f.group(0)).bundle())
		p.compare(limited(rate(time.Hour, 1, config.LimitByPrefix), f.group(0)).bundle(), 0)
		p.wantBytes("within both", all[0].first(), tags("prefix"))
		p.wantPairs("within both", map[string]int64{"pass-pass": 1})
		p.wantBytes("within the old one", all[1].first(), tags("prefix"))
		p.wantPairs("over the new one", map[string]int64{"pass-block": 1})
		p.wantBytes("within the old one still", all[2].first(), tags("prefix"))
		p.wantBytes("over both", all[3].first(), limits("prefix"))
	})
}

// What decides for nobody spends nobody's rate: a candidate that has the limit of the stable generation, and reaches it
// with others, charges words of its own.
func TestATrialSpendsNoRate(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		same := hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1], same[0].Next(), same[0].Next().Next())
		of := rate(time.Hour, 1, config.LimitByPrefix)
		p.swap(limited(of, host(same[0]), host(same[1])).bundle())
		p.compare(limited(of, f.group(0)).bundle(), 0)
		p.wantBytes("only the candidate limits it", all[2].first(), passes("not_hello"))
		p.wantPairs("within", map[string]int64{"pass-pass": 1})
		p.wantBytes("nor another", all[3].first(), passes("not_hello"))
		p.wantPairs("over, for the candidate", map[string]int64{"pass-block": 1})
		p.wantBytes("stable's has all of its rate", all[0].first(), tags("prefix"))
		p.wantBytes("and no more", all[1].first(), limits("prefix"))
	})
}

// The protected wait for nobody, and use up nobody's rate.
func TestALimitSparesTheProtected(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		p.swap(limited(rate(time.Hour, 1, config.LimitByPrefix), host(f.protected), host(f.bot)).bundle())
		l := r.listen()
		for range 2 {
			k := r.connect(l, f.protected, true)
			p.wantBytes("the protected", k.write(request), tags("prefix"))
			k.pending = nil
			k.reset()
			p.forgetFlows()
		}
		p.wantBytes("one of the prefix has all of the rate", r.connect(l, f.bot, true).write(request), tags("prefix"))
	})
}

// Where the rule ends before there is room, the block ends with it.
func TestALimitedBlockEndsWithItsGeneration(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.group(0).Addr().Next(), f.group(0).Addr().Next().Next())
		p.swap(limited(rate(time.Hour, 1, config.LimitByPrefix), f.group(0)).bundle())
		p.wantBytes("within", all[0].first(), tags("prefix"))
		p.wantBytes("over", all[1].first(), limits("prefix"))
		_, err := p.Rollback()
		p.must(err)
		p.wantBytes("taken back", all[1].first(), passes("no_match"))
	})
}

// Data in a SYN may be taken by the server at once, and nobody can be charged with a SYN: it is dropped by itself,
// and the client repeats it without.
func TestASYNWithDataIsNotLetAroundALimit(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		p.swap(limited(rate(time.Hour, 1, config.LimitBySource), host(f.bot)).bundle())
		syn := f.syn(f.bot)
		with := syn
		tcp := with.Body.(packet.TCP)
		tcp.Payload = request
		with.Body = tcp
		p.want("with data", with, drops("prefix"))
		p.want("without", syn, passes("prefix"))
		tcp.SourcePort = clientPort + 1
		with.Source, with.Body = f.visitor, tcp
		p.want("of somebody else, with data", with, passes("no_match"))
	})
}

// A connection that was dropped, and that the next generation limits, is charged like any other: it comes through where
// there is room, and else goes on being blocked.
func TestADroppedConnectionIsLimitedByTheNextGeneration(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		time0, same := p.stopClock(), hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1])
		p.swap(rules().rule("bad", 100).list("own", "bad", f.group(0)).bundle())
		for _, k := range all {
			p.wantBytes("dropped", k.first(), drops("prefix"))
		}
		p.swap(limited(rate(10*time.Second, 1, config.LimitByPrefix), f.group(0)).bundle())
		p.wantBytes("within", all[0].first(), result{"XDP_PASS", "web", "stable", "prefix", "pass"})
		p.wantBytes("over", all[1].first(), limits("prefix"))
		if flow := p.flowOf(all[1]); flow.Score != 60 || flow.Hint&uint8(bpf.HintOver) == 0 {
			t.Errorf("the flow has the score %d and the hints %#x", flow.Score, flow.Hint)
		}
		time0.pass(11 * time.Second)
		p.wantBytes("through", all[1].first(), result{"XDP_PASS", "web", "stable", "prefix", "pass"})
	})
}

// A part of a ClientHello is charged to nobody, nor are bytes of it that come twice and differ: the one that completes
// it is, and a block of it that ends leaves nothing behind that says it is over.
func TestALimitIsAskedOfAWholeHello(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		time0, same := p.stopClock(), hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1])
		p.swap(limited(rate(10*time.Second, 1, config.LimitByPrefix), f.group(0)).bundle())
		behind, other := hello[20:], bytes.Repeat([]byte{7}, len(hello)-20)
		part := result{"XDP_PASS", "web", "stable", "prefix", "pass"}
		for i, whole := range []result{tags("prefix"), limits("prefix")} {
			k := all[i]
			p.wantBytes("its SYN", k.syn, passes("prefix"))
			p.wantBytes("what comes behind the beginning", k.at(20, behind).Bytes(), part)
			p.wantBytes("other bytes in its place", k.at(20, other).Bytes(), part)
			if hint := p.flowOf(k).Hint; hint&uint8(bpf.HintCharged|bpf.HintOver) != 0 {
				t.Errorf("parts of connection %d left the hints %#x", i, hint)
			}
			p.wantBytes("the beginning", k.at(0, hello[:20]).Bytes(), whole)
		}
		if hint := p.flowOf(all[1]).Hint; hint&uint8(bpf.HintOver) == 0 {
			t.Errorf("over its limit: the flow's hints are %#x", hint)
		}
		time0.pass(10100 * time.Millisecond)
		p.wantBytes("there is room", all[1].at(0, hello[:20]).Bytes(), part)
		if hint := p.flowOf(all[1]).Hint; hint&uint8(bpf.HintOver) != 0 || hint&uint8(bpf.HintHealed) == 0 {
			t.Errorf("healed: the flow's hints are %#x", hint)
		}
	})
}

// In observe mode nothing is blocked, so no connection is kept as one that waits.
func TestAnObservedConnectionDoesNotWait(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		same := hosts(f.group(0))
		all := r.crowd(r.listen(), same[0], same[1])
		p.swap(limited(rate(time.Hour, 1, config.LimitByPrefix), f.group(0)).bundle())
		p.mode(config.ModeObserve)
		p.wantBytes("within", all[0].first(), tags("prefix"))
		p.wantBytes("over", all[1].first(), held("prefix"))
		if hint := p.flowOf(all[1]).Hint; hint&uint8(bpf.HintOver) != 0 || hint&uint8(bpf.HintCharged) == 0 {
			t.Errorf("the flow's hints are %#x", hint)
		}
	})
}
