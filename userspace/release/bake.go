// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// IdleReason says why the stable bundle blocks nobody now, as the end of "it bakes once …"; "" when it decides. A bundle
// that decides nothing proves nothing, so its bake stands.
func (mg *Manager) IdleReason(d Kernel) string {
	if d.Control().Mode != bpf.DataplaneModeMODE_ENFORCE {
		return "it enforces"
	}
	if passes, err := view.Passes(d); err != nil {
		return "the kernel can be read"
	} else if passes {
		return "the bypass is off"
	}
	// The card is asked, not the pins: what somebody unpinned goes on.
	if !slices.ContainsFunc(mg.Judge(d).Interfaces, func(i api.Interface) bool { return i.State == loader.StateAttached }) {
		return "an interface is attached"
	}
	return ""
}

// awake takes the time for which this process did not run off a bake: nobody was there to see what the bundle does. A
// machine that slept is no such time: there was no traffic, and the record's deadlines moved with the clock. It is false
// while the heartbeat has not beaten since the stop: only then is it known how long it was.
func (mg *Manager) awake() bool {
	if mg.Lease().Stopped() {
		return false
	}
	slept := mg.Lease().TakeSlept()
	if slept > 0 && !mg.Ledger.Record().BakeUntil.IsZero() {
		mg.Log.Warn("the agent was stopped; the bake goes on from there", "for", slept)
		_ = mg.Ledger.Update(func(r *state.Record) {
			if !r.BakeUntil.IsZero() {
				r.BakeUntil = r.BakeUntil.Add(slept)
			}
		})
	}
	return true
}

// holdBake lets no bake end while the bundle decides nothing, and begins it anew when the bundle decides again: a bake
// is guards.bake of deciding in one piece. The record is written at most twice a bake.
func (mg *Manager) holdBake(d Kernel) {
	until, bake := mg.Ledger.Record().BakeUntil, mg.Host().Guards.Bake
	idle, was := mg.IdleReason(d) != "", mg.settled.idle
	mg.settled.idle = idle
	if until.IsZero() || !idle && !was || idle && until.Sub(mg.Ledger.Now()) > bake/2 {
		return
	}
	_ = mg.Ledger.Update(func(r *state.Record) {
		if !r.BakeUntil.IsZero() {
			r.BakeUntil = mg.Ledger.Now().Add(bake).UTC()
		}
	})
}

// comeback is the bundle that an empty kernel gets, and the mode: last-known-good; where the host only observes, and so
// blocks nobody, the one that was applied last. A host that shall enforce and has no last-known-good gets that one too,
// but observes until a person says reload: it was applied, and never proved that it harms nobody.
// A host that a person took back to observe observes until that reload, whatever comes back.
func (mg *Manager) comeback() (known *state.Generation, mode bpf.Mode) {
	r, mode := mg.Ledger.Record(), view.ModeOf(mg.Host().MaxMode)
	if r.HeldBack {
		defer func() { mode = bpf.DataplaneModeMODE_OBSERVE }()
	}
	enforce := mode == bpf.DataplaneModeMODE_ENFORCE
	if r.Applied == nil || enforce && r.LastKnownGood != nil {
		return r.LastKnownGood, mode
	}
	if err := mg.Disk.Whole(r.Applied.Digest); errors.Is(err, state.ErrNoBundle) && r.LastKnownGood != nil {
		return r.LastKnownGood, mode // only a host that observes gets here
	}
	return r.Applied, bpf.DataplaneModeMODE_OBSERVE
}

// mode is what the control word should say: that of the host file, unless it waits for a person.
func (mg *Manager) mode() bpf.Mode {
	if mg.Ledger.Record().ModeHeld {
		return bpf.DataplaneModeMODE_OBSERVE
	}
	return view.ModeOf(mg.Host().MaxMode)
}

// TellMode says that a host observes although its file says enforce.
func (mg *Manager) TellMode() {
	r := mg.Ledger.Record()
	if !r.ModeHeld || view.ModeOf(mg.Host().MaxMode) != bpf.DataplaneModeMODE_ENFORCE {
		mg.Ledger.ClearProblem(ledger.ProblemMode)
		return
	}
	why := "the bundle that came back with an empty kernel never was last-known-good"
	if r.HeldBack {
		why = "it was rolled back to observe"
	}
	mg.Ledger.SetProblem(ledger.ProblemMode, "max_mode is enforce, but this host only observes: "+why,
		"look at what it would block, then: spillway reload")
}
