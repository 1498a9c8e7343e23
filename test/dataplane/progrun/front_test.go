// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
	support "github.com/spillway/spillway/test/support/plane"
)

// fronted is a plane whose front has to tell nobody, so that it ends whatever it can end.
type fronted struct {
	*plane
	*clock
}

func openFronted(t *testing.T, f family) *fronted {
	t.Helper()
	support.Need(t)
	own, err := support.Open("front", loader.Options{Capacity: capacity, Lab: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	p := watch(t, own)
	p.must(p.StopClock(func(s *bpf.Settings) { s.EventsPerSecond = 0 }))
	c := &clock{p: p, now: loader.Now().MonotonicNS}
	c.pass(0)
	return &fronted{p, c}
}

// Front and dataplane have one verdict, and the front leaves to it what it cannot know.
func TestTheFront(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := openFronted(t, f)
		for _, look := range []func(*fronted, family){endsTheCondemned, leavesWhatStandsAbove, knowsWhoDecides,
			passesInFront, countsInFront} {
			p.publish(f.site(), f.usual().bundle())
			look(p, f)
			_, err := p.Withdraw()
			if !errors.Is(err, loader.ErrNoCandidate) {
				p.must(err)
			}
		}
	})
}

// ends says that the front alone gives this result, and the dataplane the same.
func (p *fronted) ends(what string, frame []byte, want result) {
	p.t.Helper()
	p.must(p.FrontAlone(true))
	p.wantBytes(what+", by the front", frame, want)
	p.must(p.FrontAlone(false))
	p.must(p.SkipFront())
	p.wantBytes(what+", by the dataplane", frame, want)
	p.must(p.TakeFront())
}

// leaves says that the front has no verdict on it, and the dataplane this one.
func (p *fronted) leaves(what string, frame []byte, want result) {
	p.t.Helper()
	p.passesUncounted(what, frame)
	p.wantBytes(what, frame, want)
}

// passesUncounted says that the front leaves it.
func (p *fronted) passesUncounted(what string, frame []byte) {
	p.t.Helper()
	p.must(p.FrontAlone(true))
	action, _, err := p.Run(frame)
	p.must(err)
	if grown := p.catchUp(); actionName(action) != "XDP_PASS" || len(grown) > 0 {
		p.t.Errorf("%s: the front ends it: %s, %v", what, actionName(action), p.readable(grown))
	}
	p.must(p.FrontAlone(false))
}

// A SYN is dropped by the front where nothing that the dataplane would look at could change or name the verdict.
func endsTheCondemned(p *fronted, f family) {
	wide, one := f.denied, host(f.bot)
	// A list's rule, and one of which the case says what it is for.
	both := func(list, other int) *draft { return rules().rule("a", list).rule("b", other).list("x", "a", wide) }
	crowded := func(lists int) *draft {
		d := rules()
		for i := range lists {
			d.rule(fmt.Sprint(i), 25).list(fmt.Sprint(i), fmt.Sprint(i), wide)
		}
		return d
	}
	signed, unsigned := usualSignature(6, ""), usualSignature(3, "1400")
	past := time.Now().Add(-time.Hour)
	denied := func() *draft { return rules().rule("a", 100).list("x", "a", wide) }
	allowing := func() *draft { return denied().ruleSays("b", config.RuleAllow) }
	for name, c := range map[string]struct {
		draft *draft
		ends  bool
		want  result
	}{
		"one list":                         {denied(), true, drops("prefix")},
		"two lists add up":                 {both(40, 40).list("y", "b", one), true, drops("prefix")},
		"as many lists as it adds up":      {crowded(4), true, drops("prefix")},
		"a list more":                      {crowded(5), false, drops("prefix")},
		"two lists stay low":               {both(40, 39).list("y", "b", one), false, passes("below_threshold")},
		"a list speaks for it, not enough": {both(100, -20).list("y", "b", one), true, drops("prefix")},
		"a list speaks for it":             {both(100, -21).list("y", "b", one), false, passes("below_threshold")},
		"a list allows it":                 {allowing().list("y", "b", one), false, passes("allowed")},
		"a fingerprint could not save it":  {both(100, -20).tcp("b", scannerFP), true, drops("prefix")},
		"a fingerprint could save it":      {both(100, -21).tcp("b", scannerFP), false, drops("prefix")},
		"a fingerprint saves it":           {both(100, -21).tcp("b", browserFP), false, passes("below_threshold")},
		"a fingerprint allows it":          {allowing().tcp("b", browserFP), false, passes("allowed")},
		"a fingerprint could allow it":     {allowing().tcp("b", scannerFP), false, drops("prefix")},
		"options could save it":            {both(100, -21).reason("b", "syn_options"), false, drops("prefix")},
		"fingerprint and options could": {both(100, -11).rule("c", -10).tcp("b", scannerFP).reason("c", "syn_options"), false,
			drops("prefix")},
		"a reason of other packets":      {both(100, -100).reason("b", "fragment"), true, drops("prefix")},
		"a fingerprint is heavier":       {both(80, 90).tcp("b", browserFP), false, drops("tcp_fingerprint")},
		"a fingerprint could be heavier": {both(80, 90).tcp("b", scannerFP), false, drops("prefix")},
		"a fingerprint is as heavy":      {both(90, 90).tcp("b", browserFP), true, drops("prefix")},
		"a signature saves it":           {both(100, -21).p0f("b", signed), false, passes("below_threshold")},
		"a signature could save it":      {both(100, -21).p0f("b", unsigned), false, drops("prefix")},
		"a signature could not":          {both(100, -20).p0f("b", unsigned), true, drops("prefix")},
		"a signature allows it":          {allowing().p0f("b", signed), false, passes("allowed")},
		"a signature is heavier":         {both(80, 90).p0f("b", signed), false, drops("tcp_signature")},
		"a second signature is": {both(80, 90).rule("c", 1).p0f("c", signed).p0f("b", unsigned), false,
			drops("prefix")},
		"what could save it has ended": {denied().ruleUntil("b", -50, past).tcp("b", browserFP), true, drops("prefix")},
		"a limit is reached, no more":  {limitedTo(rules().rule("a", 60).list("x", "a", wide)), false, passes("prefix")},
		"the threshold is another's": {denied().drop("web", config.Never).drop("default", 1), false,
			passes("below_threshold")},
		"a reset of connections counts": {denied().resetting(config.Never, 80), true, drops("prefix")},
	} {
		p.swap(c.draft.bundle())
		check := p.leaves
		if c.ends {
			check = p.ends
		}
		frame := f.usualSYN()
		frame.Source = f.bot
		check(name, frame.bytes(), c.want)
	}
}

func limitedTo(d *draft) *draft {
	d.b.Policy[config.DefaultPolicy] = config.Policy{Drop: 80, Limit: 50,
		Rate: config.Rate{Connections: config.Frequency{Count: 1, Per: time.Second}, Burst: 1}}
	return d
}

// Whatever stands above a generation is the dataplane's to say.
func leavesWhatStandsAbove(p *fronted, f family) {
	syn := f.syn(f.bot).Bytes()
	p.ends("nothing", syn, drops("prefix"))

	p.mode(config.ModeObserve)
	p.leaves("observe mode", syn, would("prefix"))
	p.mode(config.ModeEnforce)

	p.must(p.Vouch(f.bot, time.Hour))
	p.leaves("a vouch", syn, passes("protected"))
	_, err := p.Unvouch(f.bot)
	p.must(err)

	p.must(p.Ban(host(f.bot), time.Hour))
	p.leaves("a ban", syn, drops("ban").by("none"))
	_, err = p.Unban(host(f.bot))
	p.must(err)

	p.SetServiceBypass(p.id("web"), loader.DeadlineForever)
	p.leaves("a bypass of the service", syn, undecided("web", "service_bypass"))
	p.SetServiceBypass(p.id("web"), 0)

	h := f.site()
	h.Allowlist = append(h.Allowlist, config.AllowEntry{Prefix: host(f.bot)})
	p.publishHost(h)
	p.leaves("the allowlist", syn, passes("protected"))
	h = f.site()
	h.Services[0].MaxVerdict = config.MaxTag
	p.publishHost(h)
	p.leaves("the host's strongest verdict", syn, passes("prefix"))
	p.publishHost(f.site())
	p.ends("nothing again", syn, drops("prefix"))

	p.pass(time.Hour)
	p.leaves("an agent that is lost", syn, passes("agent_lost"))
	p.pass(-time.Hour)
}

// A rule that ended counts no more, a candidate for everybody decides, and one for a share does not decide on SYNs.
func knowsWhoDecides(p *fronted, f family) {
	p.swap(nothing())
	p.leaves("stable has nothing against it", f.syn(f.bot).Bytes(), passes("no_match"))
	until := time.Now().Add(time.Hour)
	p.try(rules().ruleUntil("a", 100, until).list("x", "a", f.denied).bundle(), 1000)
	p.ends("the candidate has", f.syn(f.bot).Bytes(), drops("prefix").by("candidate"))
	share := uint16(500)
	p.change(loader.Change{Canary: &share})
	p.leaves("a share is not asked about SYNs", f.syn(f.bot).Bytes(), passes("no_match"))
	share = 1000
	p.change(loader.Change{Canary: &share})
	p.SetLease(loader.In(2 * time.Hour))
	p.ends("all of them again", f.syn(f.bot).Bytes(), drops("prefix").by("candidate"))
}

// What the front passes is what the dataplane passes: flows that nothing is to be asked about, and what is for no
// service.
func passesInFront(p *fronted, f family) {
	elsewhere := f.segment(f.visitor, packet.TCP{DestPort: 22, Flags: packet.ACK})
	p.ends("no service", elsewhere.Bytes(), undecided("none", "not_service"))
	key := support.KeyOf(netip.AddrPortFrom(f.visitor, clientPort), netip.AddrPortFrom(f.server, webPort))
	settled := bpf.Flow{Isn: visitorISN, Flags: confirmed | firstPayload | uint8(bpf.FlowRead),
		BanEpoch: uint32(p.BanEpoch())}
	keep := func(edit func(*bpf.Flow)) {
		flow := settled
		edit(&flow)
		p.must(p.pinned(bpf.DataplaneMapFlows).Put(p.NameOf(key), flow))
	}
	data, ack := f.data(f.visitor, visitorISN+600, request), f.ack(f.visitor, visitorISN+600)
	keep(func(*bpf.Flow) {})
	p.ends("data of a settled flow", data.Bytes(), known())
	p.ends("its ACK", ack.Bytes(), known())
	keep(func(flow *bpf.Flow) { flow.HelloEnd = 500 })
	p.ends("the ACK of one that is not", ack.Bytes(), known())
	p.passesUncounted("its data", data.Bytes())
	for name, edit := range map[string]func(*bpf.Flow){
		"a SYN came":        func(flow *bpf.Flow) { flow.Hint = uint8(bpf.HintSYN) },
		"an end came":       func(flow *bpf.Flow) { flow.Hint = uint8(bpf.HintEnd) },
		"bans changed":      func(flow *bpf.Flow) { flow.BanEpoch-- },
		"it is blocked":     func(flow *bpf.Flow) { flow.Verdict = verdictDrop },
		"it began unseen":   func(flow *bpf.Flow) { flow.Flags = confirmed; flow.HelloEnd = 9999 },
		"its client resets": func(*bpf.Flow) {},
	} {
		keep(edit)
		frame := data
		if name == "its client resets" {
			frame = f.segment(f.visitor, packet.TCP{Seq: visitorISN + 600, Flags: packet.RST})
		}
		p.passesUncounted(name, frame.Bytes())
	}
	for name, frame := range map[string]packet.Frame{
		"a tag":            func() packet.Frame { d := data; d.Tags = packet.Tags(1, packet.EtherVLAN); return d }(),
		"SYN and ACK":      f.segment(f.bot, packet.TCP{Flags: packet.SYN | packet.ACK}),
		"a SYN with data":  f.segment(f.bot, packet.TCP{Flags: packet.SYN, Payload: request}),
		"UDP":              f.udp(f.visitor, dnsPort),
		"a first fragment": func() packet.Frame { s := f.syn(f.bot); s.Fragment = &packet.Fragment{More: true}; return s }(),
	} {
		keep(func(*bpf.Flow) {})
		p.passesUncounted(name, frame.Bytes())
	}
}

// A condemned SYN counts its connection once, and the rules of its prefixes each time.
func countsInFront(p *fronted, f family) {
	hits := func() map[uint16]uint64 {
		all, err := p.RuleHits(p.Control().Stable)
		p.must(err)
		return all
	}
	before := hits()
	scan := f.segment(f.bot, packet.TCP{Seq: 77, Flags: packet.SYN, Window: 1024, Options: scannerOptions})
	p.must(p.FrontAlone(true))
	p.wantDecided("the first", scan, drops("prefix"), "web prefix drop")
	p.wantDecided("the same again", scan, drops("prefix"))
	p.must(p.FrontAlone(false))
	after := hits()
	for rule := range after {
		after[rule] -= before[rule]
	}
	if diff := cmp.Diff(map[uint16]uint64{0: 2}, after); diff != "" {
		p.t.Errorf("matches of the rules (-want +got):\n%s", diff)
	}
}
