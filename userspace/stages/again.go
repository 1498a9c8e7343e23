// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// Waits reports whether TakeUp has something to do.
func (f *Front) Waits() bool { return f.stages.Ledger.Record().Observed != nil }

// TakeUp lets the set come in stages that gave way when the host began to enforce, and what it had left out go. It is a
// job; what cannot be asked for now is at the next tick. Who asked for a bundle since is not answered by an older one.
func (f *Front) TakeUp() {
	r := f.stages.Ledger.Record()
	if r.Observed == nil {
		return
	}
	left := *r.Observed
	for _, ask := range takeUp(r.Applied, left) {
		name := nameOf(left, ask)
		if f.stages.told.waits(name) {
			continue
		}
		_, err := f.StartRollout(context.Background(), ledger.Itself(), ask, nil)
		var said *api.Error
		if err != nil && (!errors.As(err, &said) || slices.Contains(notNow, said.Code)) {
			f.stages.Log.Warn("what was observed is asked for again", "name", name, "error", err)
			return
		}
		if err != nil {
			f.stages.Log.Error("what was observed does not come in stages", "name", name, "error", err)
		}
	}
	_ = f.stages.Ledger.Update(func(r *state.Record) {
		if r.Observed != nil && r.Observed.Digest == left.Digest {
			r.Observed = nil
		}
	})
}

// notNow are the answers that say nothing against what was asked.
var notNow = []string{api.CodeBusy, api.CodeCancelled, api.CodeConflict, api.CodeInternal, api.CodeOverloaded,
	api.CodeUnavailable}

// takeUp are the changes that make of what is in force what was. Who has the policy comes first, in the place of who
// had it: the others are nothing without one.
func takeUp(now *state.Generation, left state.Generation) (all []api.RolloutRequest) {
	const why = "the host enforces now; it was in force while it observed"
	gone, had := []string(nil), ""
	if now != nil {
		for _, m := range now.Members {
			switch named := func(l state.Member) bool { return l.Name == m.Name }; {
			case slices.ContainsFunc(left.Members, named):
			case m.Policy:
				had = m.Name
			default:
				gone = append(gone, m.Name)
			}
		}
	}
	for _, m := range left.Members {
		r := api.RolloutRequest{Stored: hex.EncodeToString(m.Digest[:]), Reason: why, Accept: why}
		if !m.Policy {
			all = append(all, r)
			continue
		}
		r.Remove, had = had, ""
		all = slices.Insert(all, 0, r)
	}
	for _, name := range gone {
		all = append(all, api.RolloutRequest{Remove: name, Reason: why, Accept: why})
	}
	return all
}

func nameOf(left state.Generation, ask api.RolloutRequest) string {
	for _, m := range left.Members {
		if ask.Stored == hex.EncodeToString(m.Digest[:]) {
			return m.Name
		}
	}
	return ask.Remove
}
