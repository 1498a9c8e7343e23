// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// candidates are generations that decide for a while: in the candidate's slot, under a lease, and in the record.
//
//	publish ─▶ waits ─┬▶ confirm: stable
//	                  ├▶ expire: nobody confirmed; quarantined
//	                  ├▶ hold: its lease lapsed; can be tried again
//	                  └▶ end: a person took it back
type candidates struct {
	*site
	swap     *swap
	rollouts *rollouts
	lease    func() Lease
	judge    func(view.Kernel) view.Verdict
	stage    Stage
}

// publish lets the bundle decide for everybody, under a lease that ends with the deadline or with the agent.
func (ca *candidates) publish(d trial, seen uint32, set *config.Set, slot uint8, change *api.Change, e *state.Entry,
	rollout string, confirm time.Duration) error {
	deadline := ca.ledger.Now().Add(confirm).UTC()
	entry := generation(set, e.Number, e.At, e.User)
	// Written first: an agent that starts again in time goes on only with a candidate that it finds here.
	if err := ca.ledger.Update(func(r *state.Record) {
		r.Confirm, r.Held = &state.Confirm{Generation: entry, Deadline: deadline, Rollout: rollout}, nil
	}); err != nil {
		_ = ca.ledger.Update(func(r *state.Record) { r.Confirm = nil })
		return fmt.Errorf("nothing changed: %w", err)
	}
	ca.lease().Hold(e.Number, ca.host().Guards.Lease, loader.In(confirm))
	if _, err := d.Publish(loader.Change{Candidate: &slot, Canary: new(uint16(bpf.CanaryAll)), Seen: &seen}); err != nil {
		ca.lease().Release()
		_ = ca.ledger.Update(func(r *state.Record) { r.Confirm = nil })
		return publishError(err)
	}
	change.Outcome, change.Deadline = api.OutcomeCandidate, deadline
	change.Message = fmt.Sprintf(
		"generation %d decides now, and goes back by itself in %s unless `spillway confirm` keeps it",
		change.Number, api.Short(confirm))
	return nil
}

func (ca *candidates) end(d trial, g loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	d.SetTripped(g.Number)
	next, err := d.Withdraw()
	if err != nil {
		return nil, err
	}
	ca.lease().Release()
	b.Way, b.Left, b.To = state.BackCandidate, g.Digest, state.Generation{Digest: g.Digest, Number: g.Number}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number,
		Name:    ca.ledger.NameOf(g.Digest),
		Message: fmt.Sprintf("the candidate, generation %d, is ended; what was stable before decides", g.Number)}
	if next.Stable == bpf.SlotEmpty {
		change.Message = fmt.Sprintf("the candidate, generation %d, is ended; %s", g.Number, view.WithoutBundle(ca.judge(d)))
	}
	return change, nil
}

// elsewhere reports whether a candidate is one of the room above, or may be.
func (ca *candidates) elsewhere(d view.Kernel) bool {
	if len(ca.stage.Keeps()) == 0 {
		return false
	}
	all, err := d.Generations()
	if err != nil {
		return true
	}
	g, there := view.InSlot(all, d.Control().Candidate)
	return there && ca.stage.Owns(g.Number)
}

// candidateIn returns the generation in the candidate's slot.
func candidateIn(d view.Kernel) (loader.GenerationInfo, bool) {
	slot := d.Control().Candidate
	if slot == bpf.SlotEmpty {
		return loader.GenerationInfo{}, false
	}
	all, err := d.Generations()
	if err != nil {
		return loader.GenerationInfo{}, false
	}
	return view.InSlot(all, slot)
}
