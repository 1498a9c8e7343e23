// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// back gives one bundle of the set back the version before; the others stay. A candidate that is about it is
// ended instead: that is what decides. It is built, so it takes a moment more than a rollback of the set.
func (qu *queue) back(ctx context.Context, by api.Caller, name, reason string) (*api.Change, error) {
	if ro, ok := qu.candidateOf(name); ok {
		return qu.backs.endRollout(ctx, by, ro, reason)
	}
	left, before, err := qu.archive.backOf(name)
	if err != nil {
		return nil, err
	}
	ro := qu.rollouts.begin(by, api.RolloutRequest{Reason: reason, Accept: reason}, qu.swap.wentBack.Load())
	ro.Kind, ro.wish = api.RolloutBack, wish{bundle: before, back: true}
	ro.leaves = left
	qu.rollouts.name(ro)
	if err := qu.rollouts.enqueue(ro); err != nil {
		_, err = qu.rollouts.finish(ro, nil, err)
		return nil, err
	}
	out, err, ran := qu.turn(ctx, ro)
	if !ran {
		out, err = qu.waits(ro)
	}
	if err != nil {
		return nil, err
	}
	return &out.Change, nil
}

// backOf returns what a rollback of one bundle leaves, and the version before.
func (ar *archive) backOf(name string) (*state.Member, *config.Bundle, error) {
	r := ar.ledger.Record()
	if name == config.HostMember {
		return nil, nil, &api.Error{Code: api.CodeInvalid, Message: "the host file is a file, and has no version before; nothing changed",
			Fix: "edit it, then: spillway reload"}
	}
	if r.Applied == nil {
		return nil, nil, noBundle(name)
	}
	now := slices.IndexFunc(r.Applied.Members, func(m state.Member) bool { return m.Name == name })
	if now < 0 {
		return nil, nil, noBundle(name)
	}
	left := r.Applied.Members[now]
	before := ar.versionBefore(r, left)
	if before == nil {
		return nil, nil, &api.Error{Code: api.CodeNoPrevious,
			Message: fmt.Sprintf("the bundle %s has no version before; nothing changed", name),
			Fix:     "to take it out: spillway apply --remove " + name}
	}
	return &left, before, nil
}

// candidateOf returns the rollout of a candidate that changes a bundle.
func (qu *queue) candidateOf(name string) (id string, ok bool) {
	r := qu.ledger.Record()
	if r.Confirm == nil {
		return "", false
	}
	named := func(g *state.Generation) (d config.Digest) {
		if g != nil {
			for _, m := range g.Members {
				if m.Name == name {
					d = m.Digest
				}
			}
		}
		return d
	}
	if named(r.Applied) == named(&r.Confirm.Generation) {
		return "", false
	}
	w := qu.rollouts.list().Waiting()
	if w == nil {
		return "", false
	}
	return w.ID, true
}
