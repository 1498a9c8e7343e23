// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/bypass"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// idleReason says why the stable bundle blocks nobody now, as the end of "it bakes once …"; "" when it decides. A bundle
// that decides nothing proves nothing, so its bake stands.
func (a *agent) idleReason(d plane.Dataplane) string {
	if d.Control().Mode != bpf.DataplaneModeMODE_ENFORCE {
		return "it enforces"
	}
	if passes, err := bypass.Any(d); err != nil {
		return "the kernel can be read"
	} else if passes {
		return "the bypass is off"
	}
	// The card is asked, not the pins: what somebody unpinned goes on.
	if !slices.ContainsFunc(a.plane.Verdict(d).Interfaces, func(i api.Interface) bool { return i.State == loader.StateAttached }) {
		return "an interface is attached"
	}
	return ""
}

// awake takes the time for which this process did not run off a bake: nobody was there to see what the bundle does. A
// machine that slept is no such time: there was no traffic, and the record's deadlines moved with the clock. It is false
// while the heartbeat has not beaten since the stop: only then is it known how long it was.
func (a *agent) awake() bool {
	if a.plane.Beat().Stopped() {
		return false
	}
	slept := a.plane.Beat().TakeSlept()
	if slept > 0 && !a.ledger.Record().BakeUntil.IsZero() {
		a.log.Warn("the agent was stopped; the bake goes on from there", "for", slept)
		_ = a.ledger.Update(func(r *state.Record) {
			if !r.BakeUntil.IsZero() {
				r.BakeUntil = r.BakeUntil.Add(slept)
			}
		})
	}
	return true
}

// holdBake lets no bake end while the bundle decides nothing, and begins it anew when the bundle decides again: a bake
// is guards.bake of deciding in one piece. The record is written at most twice a bake.
func (a *agent) holdBake(d plane.Dataplane) {
	until, bake := a.ledger.Record().BakeUntil, a.hostFile().Guards.Bake
	idle, was := a.idleReason(d) != "", a.idle
	a.idle = idle
	if until.IsZero() || !idle && !was || idle && until.Sub(a.now()) > bake/2 {
		return
	}
	_ = a.ledger.Update(func(r *state.Record) {
		if !r.BakeUntil.IsZero() {
			r.BakeUntil = a.now().Add(bake).UTC()
		}
	})
}

// comeback is the bundle that an empty kernel gets, and the mode: last-known-good; where the host only observes, and so
// blocks nobody, the one that was applied last. A host that shall enforce and has no last-known-good gets that one too,
// but observes until a person says reload: it was applied, and never proved that it harms nobody.
// A host that a person took back to observe observes until that reload, whatever comes back.
func (a *agent) comeback() (known *state.Generation, mode bpf.Mode) {
	r, mode := a.ledger.Record(), view.ModeOf(a.hostFile().MaxMode)
	if r.HeldBack {
		defer func() { mode = bpf.DataplaneModeMODE_OBSERVE }()
	}
	enforce := mode == bpf.DataplaneModeMODE_ENFORCE
	if r.Applied == nil || enforce && r.LastKnownGood != nil {
		return r.LastKnownGood, mode
	}
	if err := a.ledger.Store().Whole(r.Applied.Digest); errors.Is(err, state.ErrNoBundle) && r.LastKnownGood != nil {
		return r.LastKnownGood, mode // only a host that observes gets here
	}
	return r.Applied, bpf.DataplaneModeMODE_OBSERVE
}

// mode is what the control word should say: that of the host file, unless it waits for a person.
func (a *agent) mode() bpf.Mode {
	if a.ledger.Record().ModeHeld {
		return bpf.DataplaneModeMODE_OBSERVE
	}
	return view.ModeOf(a.hostFile().MaxMode)
}

// tellMode says that a host observes although its file says enforce.
func (a *agent) tellMode() {
	r := a.ledger.Record()
	if !r.ModeHeld || view.ModeOf(a.hostFile().MaxMode) != bpf.DataplaneModeMODE_ENFORCE {
		a.ledger.ClearProblem(ledger.ProblemMode)
		return
	}
	why := "the bundle that came back with an empty kernel never was last-known-good"
	if r.HeldBack {
		why = "it was rolled back to observe"
	}
	a.ledger.SetProblem(ledger.ProblemMode, "max_mode is enforce, but this host only observes: "+why,
		"look at what it would block, then: spillway reload")
}
