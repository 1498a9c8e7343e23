// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// Run is a rollout that is under way, in one of two lanes: the main one, or the fast track's.
type Run struct {
	Change    Change `json:"change"`
	Stage     Stage  `json:"stage"`
	Step      int    `json:"step"`      // of the canary: an index of Guards.Steps
	Number    uint32 `json:"number"`    // of its generation; 0 before it was built
	On        uint32 `json:"on"`        // the stable generation that it was built on
	Seen      bool   `json:"seen"`      // the kernel showed Number where it belongs
	Paused    string `json:"paused"`    // why a person paused it; "" not
	Waits     string `json:"waits"`     // for what it waits now; "" for time
	Confirmed bool   `json:"confirmed"` // a person said so
	Observed  bool   `json:"observed"`  // it becomes stable while the host observes, and only then
	Tries     int    `json:"tries"`     // how often its taste could not be tried
	Times     Times  `json:"times"`
	Tally     Tally  `json:"tally"`
	Base      Counts `json:"base"` // the tally when the stage, or the step, began
	Split     Split  `json:"split"`
}

// Split are the arms as last seen, and when the step began.
type Split struct {
	Last Arms `json:"last"`
	Base Arms `json:"base"`
}

// Times are how long a rollout took, in time that counts: a look that came later than a lease counts for one lease.
type Times struct {
	Stage  time.Duration `json:"stage"`  // of this stage or step
	Judged time.Duration `json:"judged"` // of it, with traffic, and while the bundle decided where it should
	Quiet  time.Duration `json:"quiet"`  // since the last confirmed connection
	Unwell time.Duration `json:"unwell"` // for which the origin has been unwell in one piece
	Sure   time.Duration `json:"sure"`   // of this stage or step, all time that passed
	Total  time.Duration `json:"total"`
}

// arms are the sources since the step began.
func (r Run) arms() (canary, control Arm) {
	a := r.Split.Last.since(r.Split.Base)
	return a.Canary, a.Control
}

// stale reports whether the rollout must be built again: what is stable is not what it was built on.
func (r Run) stale(k Kernel) bool {
	decides := r.Stage == StageBake && (r.Seen || r.Change.Kind != KindRelax && !r.Observed)
	return k.Known && r.Number != 0 && r.Number != k.Stable && r.On != k.Stable && !decides
}

func (r Run) counts() Counts { return r.Tally.total().plus(r.Base, -1) }

// share is for how many sources the candidate should decide, in thousandths.
func (r Run) share(g Guards) uint16 {
	switch {
	case r.Stage != StageCanary:
		return 0
	case r.Change.Kind == KindEmergency:
		return 1000
	}
	return g.Steps[min(r.Step, len(g.Steps)-1)].Share
}

// least is how long the stage must take at least.
func (r Run) least(g Guards) time.Duration {
	switch {
	case r.Stage == StageShadow && r.Change.Kind != KindBundle:
		return quickShadow
	case r.Stage == StageShadow:
		return g.Shadow
	case r.Stage == StageBake:
		return g.Bake
	}
	return g.Steps[min(r.Step, len(g.Steps)-1)].For
}

// enter begins a stage: its time and its counts begin, and so do its tests.
func (r Run) enter(stage Stage, step int) Run {
	r.Stage, r.Step, r.Seen = stage, step, r.Seen && stage == StageCanary
	r.Times = Times{Quiet: r.Times.Quiet, Total: r.Times.Total}
	r.Base, r.Split.Base, r.Waits = r.Tally.total(), r.Split.Last, ""
	return r
}

// accept lets a person declare what the bundle did not.
func (r Run) accept(share float64) Run {
	r.Change.Accept = share
	for _, c := range []*Counts{&r.Tally.Before, &r.Tally.Last, &r.Base} {
		c.Declared, c.Undeclared = c.Declared+c.Undeclared, 0
	}
	return r
}
