// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/fresh"
)

const (
	// crowdTrials are the denied hellos of a row; one begins with every crowdGap-th of the others.
	crowdTrials = 100
	crowdGap    = 10
)

// At the default capacity, so many hellos of others begin between the two segments of a denied one. Those of others
// never end, or each in a second segment of its own, after as many others: so does Chrome's.
func TestCrowdedPlaces(t *testing.T) {
	open(t)
	seed := fresh.Number(t, "SPILLWAY_SEED", 10)
	t.Logf("SPILLWAY_SEED=%d", seed)
	c := capacity
	c.Hellos = config.DefaultHost().Capacity.Hellos
	p, err := openPlane("crowd", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	p.t = t
	p.renew()
	p.seed(seed)
	bot := one(browser(1))
	p.swap(against(p.ja4Of(bot)).bundle())
	h := browser(2)
	h.Ciphers = h.Ciphers[:7]
	for _, row := range []struct {
		others  int
		endless bool
		most    int // of 100 denied ones may be lost
	}{
		{500, true, 0}, {500, false, 0}, {700, true, 3}, {700, false, 3},
	} {
		p.forget()
		lost := p.crowd(bot, one(h), row.others, row.endless)
		t.Logf("%d others, endless: %v: %d of %d lost", row.others, row.endless, lost, crowdTrials)
		if lost > row.most {
			t.Errorf("%d others, endless: %v: %d of %d denied hellos were lost, want at most %d", row.others, row.endless, lost,
				crowdTrials, row.most)
		}
	}
}

// crowd returns how many denied hellos passed.
func (p *plane) crowd(bot, other []byte, between int, endless bool) (lost int) {
	p.t.Helper()
	const half = 1400
	var bots, others []visitor
	for n := range between + crowdTrials*crowdGap {
		if n%crowdGap == 0 && len(bots) < crowdTrials {
			bots = append(bots, p.visits(botIP, uint16(1+n), bot))
			bots[len(bots)-1].bytes(0, half)
		}
		others = append(others, p.visits(visitorIP, uint16(1+n), other))
		others[n].bytes(0, half)
		at := n - between
		if at < 0 {
			continue
		}
		if !endless {
			p.wants("a visitor's second half", "XDP_PASS", others[at].bytes(half, len(other)))
		}
		if b := at / crowdGap; at%crowdGap == 0 && bots[b].bytes(half, len(bot)) != "XDP_DROP" {
			lost++
		}
	}
	return lost
}

// seed makes the keys of all hashes, which are random otherwise, those of a seed.
func (p *plane) seed(n uint64) {
	p.t.Helper()
	r := rand.New(rand.NewPCG(n, 0))
	var words bpf.Runtime
	m := p.maps[bpf.DataplaneMapWords]
	p.must(m.Lookup(uint32(0), &words))
	words.Seed = [2]uint64{r.Uint64(), r.Uint64()}
	p.must(m.Update(uint32(0), &words, ebpf.UpdateExist))
}
