// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/fresh"
)

// reasonTrials is how many connections of each family are compared with the model.
const reasonTrials = 48

// oddities are ways to come to a reason, with what it says then of the first data, or of what comes after the hello.
type oddity struct {
	reason string
	later  bool // what is judged is data behind the hello
	send   func(c *client) (last string)
}

// drawOddity draws one of strongest, one of the hidden hellos, or one that this host may have overlooked.
func drawOddity(r *rand.Rand) oddity {
	switch r.IntN(3) {
	case 0:
		s := strongest[r.IntN(len(strongest))]
		return oddity{s.reason, false, s.send}
	case 1:
		trick := tricks[r.IntN(len(tricks))]
		return oddity{"hello_hidden", true, func(c *client) string { trick.send(c); return "" }}
	}
	return oddity{"hello_unseen", true, func(c *client) string {
		c.bytes(0, 700)
		c.p.SetBypass(loader.In(time.Minute)) // another sight
		c.p.SetBypass(0)
		c.aside(700, len(c.stream))
		return ""
	}}
}

// drawPolicy scores some of the reasons, and perhaps the source: not so that it is blocked alone.
func drawPolicy(r *rand.Rand, bot string) (*config.Host, *config.Bundle) {
	h, d := site(), bundle()
	for _, reason := range []string{"hello_too_long", "not_hello", "hello_urgent"} {
		if r.IntN(2) == 0 {
			h.AcceptReasons = append(h.AcceptReasons, reason)
		}
	}
	for _, reason := range []string{"hello_malformed", "hello_overlap", "not_hello", "hello_too_long",
		"hello_hidden", "hello_unseen"} {
		if r.IntN(3) > 0 {
			d.rule(reason, []int{100, 100, 80, 79, 40, 30, 0, -30}[r.IntN(8)]).reason(reason, reason)
		}
	}
	if score := []int{0, 30, 50}[r.IntN(3)]; score > 0 {
		d.rule("source", score).prefix("source", host(netip.MustParseAddr(bot)))
	}
	return h, d.bundle()
}

// cutsLater says whether a bundle may cut a connection past its hello for a reason: only for a hidden one that it
// scores.
func cutsLater(b *config.Bundle, reason string) bool {
	for _, rule := range b.Rules {
		if rule.ID == reason {
			return reason == "hello_hidden" && rule.Score > 0
		}
	}
	return false
}

// What follows from a reason on a proven connection is what the oracle's model says, in random policies: which reasons
// block alone, which do where the host accepts them, what scores sum up to, and what is weak for ever.
func TestReasonsAgreeWithTheModel(t *testing.T) {
	seed := fresh.Number(t, "SPILLWAY_SEED", uint64(time.Now().UnixNano()))
	t.Logf("SPILLWAY_SEED=%d", seed)
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		room := enter(t, p, nil)
		stream, seen := one(browser(1)), map[string]int{}
		for n := range reasonTrials {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			o := drawOddity(r)
			h, b := drawPolicy(r, bot)
			p.publishHost(h)
			p.swap(b)
			c := room.connect(bot, uint16(1000+n), stream)
			got := o.send(c)
			if o.later {
				c.hasRead(o.reason, len(stream))
				if got = "XDP_PASS"; c.goesOn() < 10 {
					got = "XDP_DROP"
				}
			}
			w := oracle.World{Now: time.Now(), Mode: config.ModeEnforce, Services: h.Services, AcceptReasons: h.AcceptReasons,
				Stable: &oracle.Generation{Bundle: b, Services: []string{"web"}}}
			want := "XDP_PASS"
			if w.Drops(netip.MustParseAddr(bot), "web", o.reason, true) && (!o.later || cutsLater(b, o.reason)) {
				want = "XDP_DROP"
			}
			p.wants(fmt.Sprintf("seed %d, connection %d, %s, accepted %s, rules %+v", seed, n, o.reason,
				strings.Join(h.AcceptReasons, " "), b.Rules), want, got)
			seen[o.reason+" "+want]++
		}
		t.Logf("%v", seen)
	})
}
