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

// rollbackBundle gives one bundle of the set back the version before; the others stay. A candidate that is about it is
// ended instead: that is what decides. It is built, so it takes a moment more than a rollback of the set.
func (mg *Manager) rollbackBundle(ctx context.Context, by api.Caller, name, reason string) (*api.Change, error) {
	if ro, ok := mg.candidateOf(name); ok {
		return mg.EndRollout(ctx, by, ro, reason)
	}
	r := mg.Ledger.Record()
	if r.Applied == nil {
		return nil, noBundle(name)
	}
	now := slices.IndexFunc(r.Applied.Members, func(m state.Member) bool { return m.Name == name })
	if now < 0 {
		return nil, noBundle(name)
	}
	left := r.Applied.Members[now]
	before := mg.versionBefore(r, left)
	if before == nil {
		return nil, &api.Error{Code: api.CodeNoPrevious, Message: fmt.Sprintf("the bundle %s has no version before; nothing changed", name), Fix: "to take it out: spillway apply --remove " + name}
	}
	ro := mg.beginRollout(by, api.RolloutRequest{Reason: reason, Accept: reason})
	ro.Kind, ro.wish = api.RolloutBack, wish{bundle: before, back: true}
	ro.leaves = &left
	mg.rollouts.name(ro)
	if err := mg.enqueue(ro); err != nil {
		_, err = mg.finishRollout(ro, nil, err)
		return nil, err
	}
	out, err, ran := mg.turn(ctx, ro)
	if !ran {
		out, err = mg.waits(ro)
	}
	if err != nil {
		return nil, err
	}
	return &out.Change, nil
}

// candidateOf returns the rollout of a candidate that changes a bundle.
func (mg *Manager) candidateOf(name string) (id string, ok bool) {
	r := mg.Ledger.Record()
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
	all, err := mg.Rollouts(context.Background())
	if err != nil || all.Waiting() == nil {
		return "", false
	}
	return all.Waiting().ID, true
}

// versionBefore returns the last other version of a bundle that was in force and is on disk.
func (mg *Manager) versionBefore(r *state.Record, now state.Member) *config.Bundle {
	past := slices.Clone(r.Past)
	slices.Reverse(past)
	if r.Previous != nil {
		past = append([]state.Generation{*r.Previous}, past...)
	}
	for _, g := range past {
		for _, m := range g.Members {
			if m.Name != now.Name || m.Digest == now.Digest {
				continue
			}
			if b, err := mg.Disk.Bundle(m.Digest); err == nil {
				return b
			}
		}
	}
	return nil
}
