// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"math/rand/v2"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/model/oracle"
)

// clocks are when a dataplane begins, in nanoseconds: limits count 1,024 of them for one, modulo 2^48.
var clocks = []uint64{0, 1 << 40, 1<<58 - uint64(time.Second), 1<<58 - uint64(time.Hour), 1<<58 - 1}

// frequencies have intervals from a millisecond to an hour.
var frequencies = []config.Frequency{{Count: 1000, Per: time.Second}, {Count: 7, Per: time.Second},
	{Count: 60, Per: time.Minute}, {Count: 7, Per: time.Minute}, {Count: 3, Per: time.Hour}, {Count: 1, Per: time.Hour}}

func randomPolicy(r *rand.Rand) config.Policy {
	thresholds := []config.Threshold{1, 30, 50, 80, 100, config.Never, config.Never}
	p := config.Policy{Drop: pick(r, []config.Threshold{1, 50, 80, 80, 100, 100, config.Never, config.Never}),
		Fragments: pick(r, []config.Fragments{config.FragmentsPass, config.FragmentsDrop})}
	if one(r, 2) {
		p.Tag = pick(r, thresholds)
	}
	if one(r, 4) {
		p.Reset = pick(r, thresholds)
	}
	if !one(r, 3) {
		p.Limit = pick(r, []config.Threshold{1, 1, 30, 50, 80, config.Never})
	}
	if p.Limit != config.Never || one(r, 8) {
		p.Rate = randomRate(r)
	}
	return p
}

// randomRate is one of few, so that generations share some.
func randomRate(r *rand.Rand) config.Rate {
	return config.Rate{Connections: pick(r, frequencies), Burst: uint32(1 + r.IntN(4)),
		By:     pick(r, []config.LimitKey{config.LimitBySource, config.LimitByPrefix, config.LimitByFingerprint}),
		Over:   pick(r, []config.Over{config.OverDrop, config.OverReset}),
		Shared: pick(r, []uint8{1, 1, 1, 8})} // nobody shows kinds of clients here
}

func randomCap(r *rand.Rand) config.MaxVerdict {
	if !one(r, 3) {
		return config.MaxReset
	}
	return pick(r, []config.MaxVerdict{config.MaxPass, config.MaxTag, config.MaxLimit, config.MaxLimit, config.MaxDrop})
}

// randomWait is about as long as a rate has from one connection to the next, or a few of them: of the rates in the
// world some, and of none a moment.
func randomWait(r *rand.Rand, w *oracle.World) time.Duration {
	const unit = 1024 * time.Nanosecond
	d := time.Duration(r.Int64N(int64(time.Second)))
	var rates []config.Rate
	for _, g := range []*oracle.Generation{w.Stable, w.Candidate, w.Previous} {
		if g == nil {
			continue
		}
		for _, s := range w.Services {
			if p := g.Bundle.PolicyFor(s.Name); !p.Rate.IsZero() {
				rates = append(rates, p.Rate)
			}
		}
	}
	if len(rates) > 0 {
		rate := pick(r, rates)
		d = rate.Connections.Interval()
		switch r.IntN(4) {
		case 0:
			d *= time.Duration(rate.Burst)
		case 1:
			d = time.Duration(r.Int64N(int64(d)))
		}
	}
	return max(d+time.Duration(r.IntN(7)-3)*unit+time.Duration(r.IntN(3)-1), 1)
}
