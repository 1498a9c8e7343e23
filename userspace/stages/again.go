// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Waits reports whether TakeUp has something to do.
func (f *Front) Waits() bool {
	return HostOf(f).waits() || f.stages.Ledger.Record().Observed != nil || f.Staged() && len(f.Manager.Waiting()) > 0
}

// TakeUp lets come in stages what waits for that: the set that gave way when the host began to enforce, and what
// waited for its turn when the host began to roll out in stages. It is a job; what cannot be asked for now is asked
// for at the next tick.
func (f *Front) TakeUp() {
	if f.Staged() {
		f.takeOver()
	}
	f.takeUp()
	HostOf(f).takeUp()
}

// takeOver gives the engine what waited, under its number. It leaves the queue once the engine has it on disk: an
// agent that dies between finds it in both, and does not ask twice.
func (f *Front) takeOver() {
	for _, id := range f.Manager.Waiting() {
		if !has(f.stages, id) {
			w, err := f.Manager.OrderOf(id)
			switch {
			case isNotNow(err):
				f.stages.Log.Warn("what waited for its turn is asked for again", "rollout", id, "error", err)
				return
			case err != nil:
				f.stages.Log.Error("what waited for its turn does not come in stages", "rollout", id, "error", err)
				f.Manager.Leave(id, nil, err)
				continue
			case w.Same != nil:
				f.Manager.Leave(id, w.Same, nil)
				continue
			}
			if _, err := f.stages.Ask(w.Order, w.Change); err != nil {
				return
			}
		}
		if !isKept(f.stages) {
			return
		}
		if !f.Manager.Leave(id, nil, nil) { // somebody ended it while it was handed over
			_, _ = f.stages.Do(rollout.Command{Verb: rollout.VerbAbort, ID: id, By: ledger.Itself().User,
				Reason: "it was withdrawn before its turn"})
		}
	}
}

// has reports whether a change of that number is here, or was since the start.
func has(st *Stages, id string) bool {
	if st.told.rollout(id) != nil {
		return true
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.memory.order(id) != nil // of a former agent, and nobody looked yet
}

// isKept reports whether what was decided so far is on disk.
func isKept(st *Stages) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.disk.read && !st.disk.dirty
}

// takeUp lets the set come that gave way, and what it had left out go. Who asked for a bundle since is not answered
// by an older one.
func (f *Front) takeUp() {
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
		if isNotNow(err) {
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

func isNotNow(err error) bool {
	var said *api.Error
	return err != nil && (!errors.As(err, &said) || slices.Contains(notNow, said.Code))
}

// takeUp are the changes that make of what is in force what was. Who has the policy comes first, in the place of who
// had it: the others are nothing without one.
func takeUp(now *state.Generation, left state.Generation) (all []api.RolloutRequest) {
	const why = "the host enforces now; it was in force while it observed"
	gone, had := []string(nil), ""
	if now != nil {
		for _, m := range now.Members {
			switch named := func(l state.Member) bool { return l.Name == m.Name }; {
			case slices.ContainsFunc(left.Members, named):
			case m.Name == config.HostMember:
			case m.Policy:
				had = m.Name
			default:
				gone = append(gone, m.Name)
			}
		}
	}
	for _, m := range left.Members {
		if m.Name == config.HostMember { // the host file in force has its own
			continue
		}
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
