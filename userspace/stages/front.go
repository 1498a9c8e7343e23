// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// Front answers the API about rollouts: those that go directly are release's, the others this room's.
type Front struct {
	*release.Manager
	stages *Stages
}

// NewFront stands before both.
func NewFront(mg *release.Manager, st *Stages) *Front { return &Front{mg, st} }

// Staged reports whether this host rolls out in stages.
func (f *Front) Staged() bool {
	_, on := f.stages.Guards()
	return on
}

// StartRollout asks for a change of the set in force.
func (f *Front) StartRollout(ctx context.Context, by api.Caller, r api.RolloutRequest,
	files api.Files) (*api.Rollout, error) {
	if !f.Staged() {
		return f.Manager.StartRollout(ctx, by, r, files)
	}
	w, err := f.Manager.Order(ctx, by, r, files)
	if err != nil {
		return nil, err
	}
	c := &w.Change
	c.Accept, c.Stop, c.Replace = r.AcceptBlocks, r.Stage == api.StageShadow, r.Replace
	if r.Emergency && c.Kind != rollout.KindRelax {
		c.Kind = rollout.KindEmergency
	}
	same := f.stages.told.under(c.Name, w.Order.Digest)
	if same == nil || r.Replace || w.Same != nil || c.Kind == rollout.KindEmergency && !decidesForAll(same) {
		return f.hand(w)
	}
	same.Outcome = api.OutcomeUnchanged
	same.Details = append(slices.Clone(same.Details), already(same, r)...)
	return same, nil
}

// decidesForAll reports whether an emergency has nothing to hasten.
func decidesForAll(ro *api.Rollout) bool {
	return ro.Staged.SharePermille == 1000 || ro.Staged.Track == rollout.KindEmergency.String()
}

// already says that a rollout brings this very bundle, and what of the request it does not take.
func already(ro *api.Rollout, r api.RolloutRequest) []string {
	out := []string{"rollout " + ro.ID + " brings this very bundle already, and goes on as it was asked for"}
	for _, of := range []struct {
		asked bool
		says  string
	}{
		{r.Emergency, "--emergency hastens nothing: it is one, or decides for everybody"},
		{r.AcceptBlocks > 0, fmt.Sprintf("--accept-blocks is not taken: spillway rollout accept %s --blocks %s --reason WHY",
			ro.ID, strconv.FormatFloat(100*r.AcceptBlocks, 'g', 4, 64)+"%")},
		{r.ConfirmSeconds > 0 && !ro.Staged.Unconfirmed, "--confirm is not taken; with --replace it begins again, and is"},
		{r.Stage != "", "--stage is not taken: spillway rollout pause " + ro.ID + " --reason WHY"},
	} {
		if of.asked {
			out = append(out, of.says)
		}
	}
	return out
}

// hand gives an order to the engine, and says what it made of it.
func (f *Front) hand(w *release.Wanted) (*api.Rollout, error) {
	if w.Same != nil {
		w.Same.Details = append(w.Same.Details, f.stages.told.instead(w.Order)...)
		return &api.Rollout{Change: *w.Same, ID: w.Order.ID, State: api.RolloutDone, Kind: w.Order.Kind, By: w.Order.By,
			Created: w.Order.At, Ended: w.Order.At}, nil
	}
	said, err := f.stages.Ask(w.Order, w.Change)
	if err != nil {
		return nil, err
	}
	for _, d := range said {
		if d.ID == w.Order.ID && d.To == rollout.StageRefused {
			return nil, &api.Error{Code: api.CodeRefused, Message: d.Sentence, Rollout: w.Order.ID,
				Fix: "look at `spillway rollout status`"}
		}
	}
	ro := f.stages.told.rollout(w.Order.ID)
	if ro == nil {
		return nil, api.NoRollout(w.Order.ID)
	}
	ro.Warnings, ro.Details = w.Warnings, w.Told
	return ro, nil
}

// Rollouts lists all of them, the newest first.
func (f *Front) Rollouts(ctx context.Context) (*api.RolloutList, error) {
	list, err := f.Manager.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	all, rest := f.stages.told.list()
	list.Rollouts = append(append([]api.Rollout{}, all...), list.Rollouts...) // never null in JSON
	slices.SortStableFunc(list.Rollouts, func(a, b api.Rollout) int { return b.Created.Compare(a.Created) })
	if f.Staged() {
		list.Stages = &rest
	}
	return list, nil
}

// Rollback goes back. One bundle to its version before is a change like another; all else is done at once.
func (f *Front) Rollback(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	if !f.Staged() || r.Bundle == "" || r.To != "" {
		return f.backAll(ctx, by, r)
	}
	if ro := f.stages.told.runs(r.Bundle); ro != nil {
		f.stages.condemn(by, ro, ro.Name, r.Reason)
		return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: r.Bundle, Digest: ro.Digest,
			Number: ro.Number, Message: fmt.Sprintf("rollout %s is taken back; it needs a reason to come again", ro.ID)}, nil
	}
	w, err := f.Manager.OrderBack(by, r.Bundle, r.Reason)
	if err != nil {
		return nil, err
	}
	ro, err := f.hand(w)
	if err != nil {
		return nil, err
	}
	return &ro.Change, nil
}

// backAll goes back at once, and ends what would come by itself. Where there is nothing to go back to, that is all.
func (f *Front) backAll(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	change, err := f.Manager.Rollback(ctx, by, r)
	var none *api.Error
	if r.To != "" || !f.Staged() || !errors.As(err, &none) || none.Code != api.CodeNoPrevious {
		if decided, _ := f.stages.look(nil); err == nil {
			change.Details = append(change.Details, endedBy(decided)...)
		}
		return change, err
	}
	if ro := f.stages.told.baking(); ro != nil { // it decides, and nothing was in force before it
		f.stages.condemn(by, ro, "", r.Reason)
		return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: ro.Name, Digest: ro.Digest,
			Number: ro.Number, Message: fmt.Sprintf("rollout %s is taken back; nothing was in force before it", ro.ID)}, nil
	}
	said, unread := f.stages.Do(rollout.Command{Verb: rollout.VerbBack, By: by.User, UID: by.UID,
		Reason: r.Reason})
	ended := endedBy(said)
	if unread != nil || len(ended) == 0 {
		return nil, err
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone,
		Message: "there is no previous generation to go back to; " + strings.Join(ended, "; ")}, nil
}

// Order has the engine hear a person, and answers with what it decided.
func (f *Front) Order(ctx context.Context, by api.Caller, o api.Order) (*api.Change, error) {
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	if o.ID != "" && f.stages.told.rollout(o.ID) == nil { // one that began before the host rolled out in stages
		switch o.Verb {
		case api.OrderConfirm:
			return f.Manager.ConfirmRollout(ctx, by, o.ID, o.Reason)
		case api.OrderAbort:
			return f.Manager.EndRollout(ctx, by, o.ID, o.Reason)
		}
		return nil, api.NoRollout(o.ID)
	}
	said, err := f.stages.Do(rollout.Command{Verb: rollout.Verb(o.Verb), ID: o.ID, Share: o.Share, Digest: o.Digest,
		By: by.User, UID: by.UID, Reason: o.Reason})
	if err != nil {
		return nil, err
	}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "it is taken"}
	for _, d := range said {
		if d.ID != o.ID {
			continue
		}
		if strings.HasPrefix(d.Sentence, rollout.NothingChanged) {
			return nil, &api.Error{Code: api.CodeConflict, Message: d.Sentence, Rollout: o.ID,
				Fix: "look at `spillway rollout status`"}
		}
		change.Message, change.Name, change.Digest = d.Sentence, d.Name, d.Digest
		break
	}
	return change, nil
}

// Tell adds to a status what rolls out in stages.
func (f *Front) Tell(s *api.Status) {
	f.Manager.Tell(s)
	if !f.Staged() {
		return
	}
	all, rest := f.stages.told.list()
	for _, ro := range all {
		if !ro.Over() || ro.State == api.RolloutHeld {
			rest.Rollouts = append(rest.Rollouts, ro)
		}
	}
	s.Stages = &rest
	s.Problems = append(s.Problems, HostOf(f).problems()...)
	for i := range s.Problems {
		if p := &s.Problems[i]; p.Code == "no_generation" {
			p.Fix = comes(rest.Rollouts, p.Fix)
		}
	}
}

// comes says what brings a bundle where none is in force; other, where nothing does.
func comes(all []api.Rollout, other string) string {
	for _, ro := range all {
		if ro.State == api.RolloutRunning && ro.Kind != api.RolloutRemove {
			return fmt.Sprintf("rollout %s brings %s in its time: spillway rollout", ro.ID, ro.Name)
		}
		if ro.State == api.RolloutHeld {
			return fmt.Sprintf("rollout %s of %s is held, and waits for you: spillway rollout", ro.ID, ro.Name)
		}
	}
	return other
}
