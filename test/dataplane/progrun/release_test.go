// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// dropBots drops the family's bot.
func (f family) dropBots() *config.Bundle {
	return rules().rule("bad", 100).list("own", "bad", host(f.bot)).bundle()
}

// bake says that the stable generation is last-known-good.
func (p *plane) bake() { p.SetBaked(p.number("stable")) }

// fin is a segment of the connection with FIN and ACK, n bytes after its beginning.
func (k *conn) fin(n uint32, data []byte) packet.Frame {
	return with(k.at(n, data), packet.FIN|packet.ACK)
}

// released is a FIN that went to the server's socket as an RST: it counts as what it is, the drop of a packet.
func released() result { return result{"XDP_PASS", "web", "stable", "prefix", "drop"} }

// fin is the family's bot's, to be placed in a connection.
func (f family) fin(n uint32, data []byte) packet.Frame {
	return with(f.data(f.bot, n, data), packet.FIN|packet.ACK)
}

// placed counts the frame's sequence number from the connection's first byte.
func (k *conn) placed(f packet.Frame) packet.Frame {
	tcp := f.Body.(packet.TCP)
	tcp.Seq += k.isn + 1
	f.Body = tcp
	return f
}

// hasSACK says whether a segment tells of data behind a gap (RFC 2018).
func hasSACK(tcp []byte) bool {
	const kindSACK = 5
	for o := tcp[packet.TCPLen : int(tcp[12]>>4)*4]; len(o) > 1 && o[0] != packet.KindEOL; {
		switch {
		case o[0] == kindSACK:
			return true
		case o[0] == packet.KindNOP:
			o = o[1:]
		default:
			o = o[min(max(int(o[1]), 2), len(o)):]
		}
	}
	return false
}

func (p *plane) fins() uint64 {
	p.t.Helper()
	n, err := p.Released()
	p.must(err)
	return n
}

// The FIN of a blocked connection leaves as an RST with the number that the server's socket waits for, from wherever in
// its window the FIN is and whatever its frame looks like; outside the window it is dropped.
func TestReleaseByFIN(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.publish(f.site(), f.dropBots())
		p.bake()
		for name := range bentFrames(f.data(f.bot, 1, nil)) {
			k := r.connect(l, f.bot, true)
			p.want(name+": the first payload", k.at(0, hello), drops("prefix"))
			before := p.fins()
			for _, far := range []uint32{1 << 24, 1 << 31, 0xffffffff - 1000} {
				p.want(name+": a FIN outside the window", bentFrames(k.fin(far, nil))[name], drops("prefix"))
			}
			if n := p.fins() - before; n != 0 {
				t.Errorf("%s: %d sockets released by FINs outside the window", name, n)
			}
			for _, near := range []uint32{uint32(len(hello)), 0, 20_000} {
				frame := bentFrames(k.fin(near, nil))[name]
				p.wantReset(name+": a FIN in the window", frame.Bytes(), released(), k.toServer(frame, k.isn+1))
			}
			frame := bentFrames(k.fin(0, hello))[name]
			p.wantReset(name+": a FIN behind the first payload", frame.Bytes(), released(), k.toServer(frame, k.isn+1))
			if n := p.fins() - before; n != 4 {
				t.Errorf("%s: %d released, want 4", name, n)
			}
			for what, flags := range map[string]uint8{"an ACK": packet.ACK,
				"FIN and SYN": packet.FIN | packet.SYN | packet.ACK} {
				p.want(name+": "+what, with(k.at(9, nil), flags), drops("prefix"))
			}
			k.reset()
			p.want(name+": no socket", bentFrames(k.fin(0, nil))[name], drops("prefix"))
		}
	})
}

// A FIN that passed before its connection was blocked waits at the socket, and never comes again: whatever is dropped
// then ends the connection, the packet that decides too.
func TestReleaseAfterAFINThatPassed(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.publish(f.site(), f.dropBots())
		far := uint32(len(hello))
		for name, c := range map[string]struct {
			waits packet.Frame // what the socket has, behind the gap
			baked bool
			want  result
		}{
			"a FIN": {waits: f.fin(far, nil), baked: true,
				want: result{"XDP_PASS", "web", "stable", "prefix", "drop"}},
			"data and a FIN": {waits: f.fin(far, []byte("x")), baked: true,
				want: result{"XDP_PASS", "web", "stable", "prefix", "drop"}},
			"data":             {waits: with(f.fin(far, []byte("x")), packet.ACK), baked: true, want: drops("prefix")},
			"nothing":          {baked: true, want: drops("prefix")},
			"a FIN, in a bake": {waits: f.fin(far, nil), want: drops("prefix")},
		} {
			p.SetBaked(0)
			if c.baked {
				p.bake()
			}
			k := r.connect(l, f.bot, true)
			if c.waits.Body != nil {
				r.inject(k.acking(k.placed(c.waits)).Bytes())
				r.frame(name+" is told to be there", netip.AddrPortFrom(f.server, webPort), hasSACK)
			}
			before := p.fins()
			first := k.at(0, hello)
			if c.want.Action != "XDP_PASS" {
				p.want(name+": the first payload", first, c.want)
				p.want(name+": the first payload, again", first, drops("prefix"))
				p.forgetFlows()
				k.reset()
				continue
			}
			p.wantReset(name+": the first payload", first.Bytes(), c.want, k.toServer(first, k.isn+1))
			p.wantReset(name+": the first payload, again", first.Bytes(), released(), k.toServer(first, k.isn+1))
			if n := p.fins() - before; n != 2 {
				t.Errorf("%s: %d released, want 2", name, n)
			}
			p.forgetFlows()
			k.reset()
		}
	})
}

// What may heal, or what somebody stands above, is not released; nor is the next user of the address and port.
func TestReleaseNothing(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		connect := func() *conn {
			k := r.connect(l, f.bot, true)
			p.want("the first payload", k.at(0, hello), drops("prefix"))
			return k
		}
		none := func(what string, k *conn, want result) {
			t.Helper()
			before := p.fins()
			frame := k.fin(uint32(len(hello)), nil)
			p.want(what, frame, want)
			if n := p.fins() - before; n != 0 {
				t.Errorf("%s: %d sockets released", what, n)
			}
		}
		p.publish(f.site(), f.dropBots())
		k := connect()
		none("in a bake", k, drops("prefix"))
		p.SetBaked(p.number("stable") + 1)
		none("another generation has baked", k, drops("prefix"))
		p.bake()
		p.mode(config.ModeObserve)
		none("observe", k, would("prefix"))
		k.reset()
		p.forgetFlows()
		p.mode(config.ModeEnforce)
		k = connect()
		p.must(p.Vouch(f.bot, time.Hour))
		none("vouched", k, passes("protected"))
		_, err := p.Unvouch(f.bot)
		p.must(err)
		_, err = p.SweepVouched()
		p.must(err)
		k.reset()
		p.forgetFlows()

		k = connect()
		old := *k
		k.reset()
		k = r.connect(l, f.bot, true)
		none("of the connection before, with its number", &old, drops("prefix"))
		frame := k.fin(0, nil)
		before := p.fins()
		p.want("of the next user", frame, drops("prefix"))
		if n := p.fins() - before; n != 0 {
			t.Errorf("the next user: %d sockets released", n)
		}
		k.reset()
		p.forgetFlows()

		k = connect()
		p.must(p.Ban(host(f.bot), time.Hour))
		none("banned: no generation's block", k, result{"XDP_DROP", "web", "none", "ban", "drop"})
		_, err = p.Unban(host(f.bot))
		p.must(err)
		k.reset()
		p.forgetFlows()

		p.swap(nothing())
		p.try(f.dropBots(), 1000)
		p.SetBaked(p.number("candidate"))
		k = r.connect(l, f.bot, true)
		p.want("the candidate: the first payload", k.at(0, hello), drops("prefix").by("candidate"))
		none("the candidate", k, drops("prefix").by("candidate"))
		k.reset()
	})
}

// What the agent closes: flows that the stable generation blocks for good, and only while the socket is their own.
func TestBlockedFlowsAreFoundForGood(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		found := func() []loader.BlockedFlow {
			t.Helper()
			var w loader.FlowWalk
			all, done, err := p.BlockedFlows(&w, 1<<20, nil)
			p.must(err)
			if !done {
				t.Error("the walk did not end")
			}
			return all
		}
		still := func(what string, b loader.BlockedFlow, want bool) {
			t.Helper()
			got, err := p.StillBlocked(b)
			p.must(err)
			if got != want {
				t.Errorf("%s: still blocked is %t, want %t", what, got, want)
			}
		}
		p.publish(f.site(), f.dropBots())
		v := r.connect(l, f.visitor, true)
		p.want("a visitor", v.at(0, hello), passes("no_match"))
		k := r.connect(l, f.bot, true)
		p.want("a bot", k.at(0, hello), drops("prefix"))
		if all := found(); len(all) != 0 {
			t.Errorf("in a bake: %v", all)
		}
		p.bake()
		all := found()
		if len(all) != 1 || all[0].Client.Addr() != f.bot || all[0].Server.Addr() != f.server ||
			all[0].Server.Port() != webPort || all[0].Client.Port() != clientPort {
			t.Fatalf("found %v, want the bot", all)
		}
		var flow bpf.Flow
		p.must(p.pinned(bpf.DataplaneMapFlows).Lookup(p.NameOf(key(f.bot, f.server, clientPort, webPort)), &flow))
		b := all[0]
		still("as it is", b, true)
		p.must(p.Vouch(f.bot, time.Hour))
		still("vouched", b, false)
		_, err := p.Unvouch(f.bot)
		p.must(err)
		p.SetBypass(loader.In(time.Hour))
		still("bypass", b, false)
		p.SetBypass(0)
		p.SetServiceBypass(2, loader.In(time.Hour))
		still("a bypass of some service", b, false)
		p.SetServiceBypass(2, 0)
		still("as it was", b, true)
		k.reset()
		still("without a socket", b, false)
		k = r.connect(l, f.bot, true)
		still("the next user's socket", b, false)
		k.reset()
		p.mode(config.ModeObserve)
		still("observe", b, false)
		p.mode(config.ModeEnforce)
		still("another epoch", b, false)
		if all := found(); len(all) != 0 {
			t.Errorf("of another epoch: %v", all)
		}
	})
}
