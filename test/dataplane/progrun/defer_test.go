// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// A generation on trial blocks nothing new that nobody could count, unless it declared it: a SYN passes, and its first
// payload is blocked. What both block is blocked at the SYN, and so is what is declared.
func TestUncountedBlocksAreDeferred(t *testing.T) {
	for name, onTrial := range map[string]struct {
		begin func(p *plane, b *config.Bundle)
		by    string
	}{
		"a candidate for everybody": {func(p *plane, b *config.Bundle) { p.compare(b, 1000) }, "candidate"},
		"a bake under a budget":     {func(p *plane, b *config.Bundle) { p.holdToBudget(b) }, "stable"},
	} {
		t.Run(name, func(t *testing.T) {
			eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
				r.settle()
				k := r.connectFree(r.listen(), f.sources(0, 1)[0])
				other := f.sources(1, 2)[0]
				blocked, deferred := drops("prefix").by(onTrial.by), passes("on_trial").by(onTrial.by)

				onTrial.begin(p, deny(k.src))
				p.want("a SYN", k.synAs(f.syn(k.src)), deferred)
				p.want("a payload that nobody vouches for", f.data(k.src.Next(), 7, hello), passes("unconfirmed").by(onTrial.by))
				p.want("a question", f.udp(k.src, dnsPort), deferred.of("dns"))
				p.wantBytes("the first payload", k.first(), blocked)
				p.wantBytes("and again", k.first(), drops("prefix").by(onTrial.by))

				p.renew(f, false)
				onTrial.begin(p, denyDeclared(k.src))
				p.want("a declared SYN", f.syn(k.src), blocked)
				p.want("a declared question", f.udp(k.src, dnsPort), blocked.of("dns"))

				p.renew(f, false)
				p.swap(deny(k.src))
				onTrial.begin(p, deny(k.src, other))
				p.want("a SYN that both block", f.syn(k.src), blocked)
				p.want("a SYN that only the new one blocks", f.syn(other), deferred)

				p.must(p.Stop(loader.LaneMain))
				alone := blocked
				if p.Control().Budget { // nobody can charge it
					alone = deferred
				}
				p.want("nobody compares", f.syn(other), alone)
				p.want("nobody compares what both block", f.syn(k.src), blocked)
				p.change(loader.Change{Pair: new(bool), Budget: new(bool)})
				p.want("nobody looks", f.syn(other), blocked)
			})
		})
	}
}

// What a canary is compared with is not on trial, whatever was before it: its blocks hold, at a SYN as at a first
// payload, also where nothing compares. What bakes beside a canary is.
func TestTheBaseOfACanaryIsNotOnTrial(t *testing.T) {
	for _, share := range []uint16{0, 500} {
		eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
			r.settle()
			k := r.connectFree(r.listen(), f.sources(0, 1)[0])
			p.swap(deny())
			base := p.build(deny(k.src))
			p.change(loader.Change{Stable: &base}) // before it was what lets all pass
			c := p.compare(deny(k.src), share)
			p.change(loader.Change{Pair: new(true), Budget: new(true)})
			p.want("a SYN", f.syn(k.src), drops("prefix").by("stable"))
			if share == 0 {
				p.wantBytes("the first payload", k.first(), drops("prefix").by("stable"))
			}
			p.forgetFlows()
			back := p.away(bpf.ProgramPair)
			p.want("a SYN, and nothing compares", f.syn(k.src), drops("prefix").by("stable"))
			back()
			bakes := loader.Comparison{Run: p.NextRun(), Old: p.number("previous"), New: c.Old}
			p.must(p.Compare(loader.LaneFast, bakes))
			p.want("a SYN, of what bakes too", f.syn(k.src), passes("on_trial").by("stable"))
		})
	}
}

// What was deferred at the SYN is remembered as any SYN: its first payload is judged with its fingerprint.
func TestDeferredSYNIsRemembered(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		k := r.connectFree(r.listen(), f.sources(0, 1)[0])
		p.holdToBudget(denyScanners())
		p.want("the SYN of a scanner", k.synAs(f.scan(k.src)), passes("on_trial"))
		p.wantBytes("its first payload", k.first(), drops("tcp_fingerprint"))
	})
}

// A candidate for a share of the sources decides first payloads that somebody vouches for, and nothing else.
func TestAShareDecidesWhatIsProvenAlone(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		k := r.connectFree(r.listen(), f.sources(0, 1)[0])
		p.try(rules().rule("bad", 100).list("own", "bad", f.group(0)).bundle(), 999)
		stable, candidate := passes("no_match"), drops("prefix").by("candidate")
		p.want("a SYN", k.synAs(f.syn(k.src)), stable)
		p.want("a question", f.udp(k.src, dnsPort), stable.of("dns"))
		p.want("a payload that nobody vouches for", f.data(k.src.Next(), 7, hello), passes("unconfirmed"))
		p.want("an ACK", f.ack(k.src.Next(), 7), passes("handshake"))
		p.wantBytes("the first payload", k.first(), candidate)
		stored := drops("prefix").by("candidate")
		p.wantBytes("again", k.first(), stored)
		p.change(loader.Change{Canary: new(uint16(998))})
		p.wantBytes("another share: the block is the candidate's still", k.first(), candidate)
		p.wantBytes("and stored", k.first(), stored)
		p.change(loader.Change{Canary: new(uint16(1000))})
		p.want("everybody's SYN", f.syn(k.src), candidate)
	})
}
