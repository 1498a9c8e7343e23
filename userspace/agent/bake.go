// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// idleReason says why the stable bundle blocks nobody now, as the end of "it bakes once …"; "" when it decides. A bundle
// that decides nothing proves nothing, so its bake stands.
func (a *agent) idleReason(d dataplane) string {
	if d.Control().Mode != bpf.DataplaneModeMODE_ENFORCE {
		return "it enforces"
	}
	ids, err := bypassIDs(d)
	if err != nil {
		return "the kernel can be read"
	}
	for _, id := range ids {
		if readBypass(d, id).Active() {
			return "the bypass is off"
		}
	}
	all, err := d.Attachments()
	if err != nil || !slices.ContainsFunc(all, func(at loader.Attachment) bool { return at.State == loader.StateAttached }) {
		return "an interface is attached"
	}
	return ""
}

// holdBake lets no bake end while the bundle decides nothing, and begins it anew when the bundle decides again: a bake
// is guards.bake of deciding in one piece. The record is written at most twice a bake.
func (a *agent) holdBake(d dataplane) {
	until, bake := a.state().BakeUntil, a.hostFile().Guards.Bake
	idle, was := a.idleReason(d) != "", a.idle
	a.idle = idle
	if until.IsZero() || !idle && !was || idle && until.Sub(a.now()) > bake/2 {
		return
	}
	_ = a.update(func(r *state.Record) {
		if !r.BakeUntil.IsZero() {
			r.BakeUntil = a.now().Add(bake).UTC()
		}
	})
}

// comeback is the bundle that an empty kernel gets: last-known-good, or where the host only observes, and so blocks
// nobody, the one that was applied last.
func (a *agent) comeback() *state.Generation {
	r := a.state()
	if modeOf(a.hostFile().MaxMode) == bpf.DataplaneModeMODE_ENFORCE || r.Applied == nil {
		return r.LastKnownGood
	}
	if _, err := a.store.Bundle(r.Applied.Digest); err != nil && r.LastKnownGood != nil {
		return r.LastKnownGood
	}
	return r.Applied
}
