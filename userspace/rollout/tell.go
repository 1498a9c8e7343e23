// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// What a person is told of a rollout that is under way.

// Runs reports whether a rollout at this stage is under way.
func (s Stage) Runs() bool { return s.runs() }

// Counts are the votes since the stage, or the step, began.
func (r Run) Counts() Counts { return r.counts() }

// Sides are the sources of the canary and the others since the step began.
func (r Run) Sides() (canary, control Arm) { return r.arms() }

// Intent is what counts as declared.
func (r Run) Intent(g Guards) Intent { return r.Change.intent(g) }

// Left is how long the stage still takes at this traffic, where that is known.
func (r Run) Left(g Guards) (time.Duration, bool) { return r.left(g) }

// Looks are the tests that the stage waits for, as they stand.
func (r Run) Looks(g Guards) []sequential.Look {
	c, canary, control := r.counts(), Arm{}, Arm{}
	test := sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}
	switch share := r.share(g); {
	case r.Stage == StageShadow:
	case r.Stage == StageCanary && share < 1000 && g.margin(share) > 0:
		canary, control = r.arms()
		looks := r.compared(g, g.margin(share), canary, control)
		return looks[:]
	default:
		return nil
	}
	return []sequential.Look{test.Look(c.Undeclared, c.Pairs)}
}

// Traffic is what this rollout saw; false while it saw too little to say. Few votes in ten minutes say that there are
// few. How many prefixes are new each day only days could show, so that is what is usual.
func (r Run) Traffic() (Traffic, bool) {
	votes := r.Tally.total().Pairs
	if r.Times.Total < time.Minute || votes < 10 && r.Times.Total < 10*time.Minute {
		return Traffic{}, false
	}
	aDay := float64(votes) / r.Times.Total.Hours() * 24
	t := usual(aDay)
	if a := r.Split.Last; a.Control.Sources > 0 {
		t.Failing = float64(a.Control.Bad) / float64(a.Control.Sources)
	}
	return t, true
}

// Rest is how long it takes until the rollout is done, at the traffic that it saw; false where nobody can know.
func (r Run) Rest(g Guards) (time.Duration, bool) {
	rest, known := r.left(g)
	switch {
	case !known || r.Stage == StageTaste:
		return 0, false
	case r.Stage == StageBake:
		return rest, true
	case r.Stage == StageShadow && r.Change.fast(g):
		return rest + g.Bake, true
	case r.Change.Kind != KindBundle:
		return 0, false
	}
	traffic, seen := r.Traffic()
	if !seen {
		return 0, false
	}
	e, next := g.parts(traffic), 1
	if r.Stage == StageCanary {
		next = 2 + r.Step
	}
	for _, p := range e.Parts[min(next, len(e.Parts)):] {
		if p.Never {
			return 0, false
		}
		rest += p.Takes
	}
	return rest, true
}
