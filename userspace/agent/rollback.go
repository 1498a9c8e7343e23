// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Rollback implements api.Backend. A candidate that waits is ended and stable stays; otherwise previous becomes stable.
// It waits for no apply or reload that runs: it goes back from what decides now, and what was being built for that is
// not published.
func (a *agent) Rollback(ctx context.Context, by api.Caller, reason string) (*api.Change, error) {
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	a.wentBack.Add(1)
	e := a.entry(by, "rollback", reason)
	change, err := a.rollback(d, &e)
	if err != nil {
		e.Outcome, e.Detail = api.OutcomeFailed, append(e.Detail, err.Error())
	} else {
		e.Outcome = api.OutcomeDone
		a.countRollback()
	}
	a.audit(e)
	return change, err
}

func (a *agent) rollback(d dataplane, e *state.Entry) (*api.Change, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	if g, ok := generationIn(all, c.Candidate); ok {
		return a.endCandidate(d, g, e)
	}
	left, _ := generationIn(all, c.Stable)
	next, err := d.Rollback()
	if errors.Is(err, loader.ErrNoPrevious) {
		return nil, &api.Error{Code: api.CodeNoPrevious, Message: "there is no previous generation to go back to", Fix: "apply an older bundle, or let everything pass: spillway bypass on"}
	}
	if err != nil {
		return nil, err
	}
	g, _ := generationIn(all, next.Stable)
	a.ensureKnown(g.Digest)
	leftName := a.nameOf(left.Digest)
	e.Digest, e.Number, e.Name = g.Digest, g.Number, a.nameOf(g.Digest)
	e.Detail = append(e.Detail, fmt.Sprintf("left generation %d, %s", left.Number, config.Digest(left.Digest).Short()))
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: e.Name,
		Message: fmt.Sprintf("generation %d is in force again; generation %d was left, and needs a reason to come back", g.Number, left.Number)}
	a.note(change, a.update(func(r *state.Record) {
		r.RollBack(state.Generation{Digest: g.Digest, Members: membersOf(r, g.Digest, e.Name), Number: g.Number, At: e.At.UTC(), By: e.User}, quarantined(leftName, left.Digest, e), a.host.Guards.Bake)
	}))
	return change, nil
}

func (a *agent) endCandidate(d dataplane, g loader.GenerationInfo, e *state.Entry) (*api.Change, error) {
	next, err := d.Withdraw()
	if err != nil {
		return nil, err
	}
	a.beat.release()
	e.Digest, e.Number, e.Name = g.Digest, g.Number, a.nameOf(g.Digest)
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: e.Name,
		Message: fmt.Sprintf("the candidate, generation %d, is ended; what was stable before is in force", g.Number)}
	if next.Stable == bpf.SlotEmpty {
		change.Message = fmt.Sprintf("the candidate, generation %d, is ended; there was no bundle before, so everything but bans passes", g.Number)
	}
	a.note(change, a.update(func(r *state.Record) {
		r.Confirm = nil
		r.AddQuarantine(quarantined(e.Name, g.Digest, e))
	}))
	return change, nil
}

func quarantined(name string, d config.Digest, e *state.Entry) state.Quarantined {
	return state.Quarantined{Name: name, Digest: d, At: e.At, By: e.User, Reason: e.Reason}
}
