// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// "Established connections are not newly blocked by a swap": the worst bundle there is cuts no connection that passes,
// whether Spillway saw it begin or found it in the middle.
func TestA48EstablishedConnectionsAreNotNewlyBlocked(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		for name, begin := range map[string]func(*plane, *conn){
			"seen from its SYN on": func(p *plane, k *conn) {
				p.wantBytes("the SYN", k.syn, passes("no_match"))
				p.wantBytes("the first payload", k.write(request), passes("not_hello"))
			},
			"seen from its first payload on": func(p *plane, k *conn) {
				p.wantBytes("the first payload", k.write(request), passes("not_hello"))
			},
			"adopted in the middle": func(p *plane, k *conn) {
				k.write(request)
				p.wantBytes("data in the middle", k.write(request), passes("midstream"))
				p.wantFlow("adopted", verdictPass, confirmed|firstPayload)
			},
		} {
			k := r.connect(l, f.visitor, true)
			begin(p, k)
			flow, _ := p.flow()
			for range 4 { // through every slot
				p.swap(f.everyone())
				p.wantBytes(name+": data after the swap", k.write(request), known())
				p.want(name+": an ACK", f.ack(k.src, k.isn+2), known())
				p.want(name+": a FIN", with(f.ack(k.src, k.isn+2), packet.FIN|packet.ACK), known())
			}
			p.try(f.everyone(), 1000)
			p.wantBytes(name+": data beside a candidate", k.write(request), known())
			p.wantSameFlow(name+": after all swaps", flow)
			k.reset()
			p.renew(f, false)
		}
	})
}

// "New blocks begin at a SYN or a first payload": the same source's next connection is blocked.
func TestNewBlocksBeginAtASYNOrAFirstPayload(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		old := r.connect(l, f.visitor, true)
		p.wantBytes("a visitor's first payload", old.write(request), passes("not_hello"))
		young := r.connect(l, f.other, true)
		p.wantBytes("another visitor's SYN", young.syn, passes("no_match"))
		p.swap(f.everyone())
		p.wantBytes("the first visitor goes on", old.write(request), known())
		p.wantBytes("the other's first payload", young.write(request), drops("prefix"))
		p.want("the first visitor's next SYN",
			f.segment(f.visitor, packet.TCP{SourcePort: clientPort + 1, Flags: packet.SYN}), drops("prefix"))
		p.wantBytes("the first visitor still goes on", old.write(request), known())
	})
}

// "A change of epoch scores again only flows whose verdict is not pass, and may only relax."
func TestEpochOnlyRelaxes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		k := r.visit(f.bot)
		p.wantBytes("a bot's first payload", k.write(request), drops("prefix"))
		flow, _ := p.flow()
		p.wantBytes("its next data, by the stored verdict", k.write(request), drops("prefix"))

		p.swap(deny(f.bot, f.visitor))
		p.wantBytes("a bundle that blocks it too", k.write(request), drops("prefix"))
		now := p.wantFlow("still blocked", verdictDrop, confirmed|firstPayload)
		if now.Epoch == flow.Epoch || now.Generation == flow.Generation {
			t.Errorf("the flow was not scored again: %+v, was %+v", now, flow)
		}
		p.wantBytes("its next data, by the new verdict", k.write(request), drops("prefix"))

		p.swap(deny(f.visitor))
		p.wantBytes("a bundle that knows nothing of it", k.write(request), passes("no_match"))
		p.wantFlow("relaxed", verdictPass, confirmed|firstPayload)
		p.swap(deny(f.bot))
		p.wantBytes("a bundle that would block it", k.write(request), known())
		p.wantFlow("never blocked again", verdictPass, confirmed|firstPayload)
	})
}

// A block by a fingerprint is scored again with the fingerprint that the flow keeps: the SYN is long gone.
func TestFlowKeepsItsFingerprintForScoringAgain(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		one := capacity
		one.Syns = 1
		p := openSized(t, one).site(f, nothing())
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		p.wantBytes("its first payload", k.write(request), drops("tcp_fingerprint"))
		p.want("another SYN takes the only place", f.syn(f.other), passes("no_match"))
		p.swap(denyScanners())
		p.wantBytes("scored again", k.write(request), drops("tcp_fingerprint"))
		p.swap(deny(f.other))
		p.wantBytes("nobody denies scanners any more", k.write(request), passes("no_match"))
	})
}

// Protected sources that are added later free what was blocked before.
func TestProtectedAddedLaterRelaxes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		k := r.visit(f.bot)
		p.wantBytes("a bot's first payload", k.write(request), drops("prefix"))
		h := f.site()
		h.Allowlist = append(h.Allowlist, config.AllowEntry{Prefix: host(f.bot)})
		p.publishHost(h)
		p.wantBytes("protected", k.write(request), passes("protected"))
		p.wantFlow("relaxed", verdictPass, confirmed|firstPayload)
		p.publishHost(f.site())
		p.wantBytes("the line is gone again: the connection is established", k.write(request), known())
	})
}

// "A ban alone may cut an established flow."
func TestABanAloneMayCutAnEstablishedFlow(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.wantBytes("the first payload", k.write(request), passes("not_hello"))
		flow, _ := p.flow()
		p.must(p.Ban(host(f.other), time.Hour))
		p.wantBytes("a ban of somebody else", k.write(request), known())
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.wantBytes("data under a ban", k.write(request), banned("web"))
		p.want("an ACK under a ban", f.ack(k.src, k.isn+2), banned("web"))
		p.want("a FIN under a ban", with(f.ack(k.src, k.isn+2), packet.FIN|packet.ACK), banned("web"))

		p.mode(config.ModeObserve)
		p.wantBytes("in observe mode", k.write(request), would("ban").by("none"))
		p.mode(config.ModeEnforce)
		h := f.site()
		h.Allowlist = append(h.Allowlist, config.AllowEntry{Prefix: host(f.visitor)})
		p.publishHost(h)
		p.wantBytes("protected", k.write(request), passes("protected").by("none"))
		p.publishHost(f.site())
		p.wantBytes("not protected", k.write(request), banned("web"))

		_, err := p.Unban(host(f.visitor))
		p.must(err)
		p.wantBytes("unbanned", k.write(request), known())
		now, _ := p.flow()
		flow.BanEpoch = now.BanEpoch
		p.wantSameFlow("the ban left no trace", flow)
	})
}

// A ban that something stood above when the connection began counts as soon as that is gone.
func TestABanIsNotForgottenWhereItWasOverruled(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		p.must(p.Ban(host(f.protected), time.Hour))
		k := r.visit(f.protected)
		p.wantBytes("a protected source's first payload", k.write(request), passes("protected").by("none"))
		p.wantBytes("its data", k.write(request), passes("protected").by("none"))
		h := f.site()
		h.Allowlist = nil
		p.publishHost(h)
		p.wantBytes("protected no longer", k.write(request), banned("web"))
	})
}

// Raising the mode is a change like others: who is established stays, and who comes is judged.
func TestRaisingTheModeCutsNobody(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		p.mode(config.ModeObserve)
		k := r.visit(f.bot)
		p.wantBytes("the first payload in observe mode", k.write(request), would("prefix"))
		p.wantFlow("observed", verdictPass, confirmed|firstPayload)
		p.mode(config.ModeEnforce)
		p.wantBytes("its data in enforce mode", k.write(request), known())
		p.want("its next SYN", f.segment(f.bot, packet.TCP{SourcePort: clientPort + 1, Flags: packet.SYN}), drops("prefix"))
	})
}

// A ban that ends lets the flow go on without anybody's help.
func TestABanThatEndsLetsTheFlowGoOn(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.wantBytes("the first payload", k.write(request), passes("not_hello"))
		data := k.at(100, request).Bytes()
		for ttl := 100 * time.Millisecond; ; ttl *= 2 { // a slow machine gets a longer ban
			end := loader.In(ttl)
			p.must(p.Ban(host(f.visitor), ttl))
			if p.send(data) != banned("web") && ttl < 30*time.Second {
				continue
			}
			p.poll("a ban that ends", func() bool { return p.send(data) == known() })
			if !over(end) {
				t.Error("the flow passed before the ban ended")
			}
			return
		}
	})
}

// What a socket has taken in makes a connection that no swap may cut, also where its flow was evicted: a ban alone can.
func TestAnEvictedFlowIsNotCutByASwap(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.wantBytes("the first payload", k.write(request), passes("not_hello"))
		p.swap(f.everyone())
		p.must(p.pinned(bpf.DataplaneMapFlows).Delete(p.NameOf(key(f.visitor, f.server, clientPort, webPort))))
		p.wantBytes("data of a flow that was evicted, denied since", k.write(request), passes("midstream"))
		p.wantFlow("adopted", verdictPass, confirmed|firstPayload)
		p.wantBytes("it goes on", k.write(request), known())

		p.must(p.pinned(bpf.DataplaneMapFlows).Delete(p.NameOf(key(f.visitor, f.server, clientPort, webPort))))
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.wantBytes("under a ban", k.write(request), banned("web"))
		p.wantNoFlow("a ban stores nothing")
	})
}
