// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// Whatever was applied while a host observed was never judged: it blocked nobody. Where changes go in stages, the
// moment at which the host begins to enforce is a change like another: last-known-good, or nothing, becomes stable in
// the same store that sets the mode, and the set that was in force comes in stages. What was taken out of
// last-known-good meanwhile does not come back with it.

// unproven reports whether a host begins to enforce what never was last-known-good.
func (ho *hosts) unproven(d Kernel, next *config.Host, mode bpf.Mode) bool {
	r := ho.ledger.Record()
	return next.Guards.Rollout == config.RolloutStaged && mode == bpf.ModeEnforce &&
		d.Control().Mode == bpf.ModeObserve && d.Control().Stable != bpf.SlotEmpty && r.Applied != nil &&
		(r.LastKnownGood == nil || r.LastKnownGood.Digest != r.Applied.Digest)
}

// enforce publishes the host file with what is proven.
func (ho *hosts) enforce(d Kernel, file *hostfile.File) (detail []string, err error) {
	seen, mode := ho.swap.seen(d), bpf.ModeEnforce
	host, hostSlot, err := ho.builder.hostFile(d, file)
	if err != nil {
		return nil, err
	}
	before, err := d.Host()
	if err != nil {
		return nil, err
	}
	r, slot := ho.ledger.Record(), uint8(bpf.SlotEmpty)
	var known *built
	var proven *config.Set
	if r.LastKnownGood != nil {
		if proven, err = ho.proven(r); err != nil {
			return nil, fmt.Errorf("build last-known-good for the new host file: %w", err)
		}
		if known, err = ho.builder.fromDisk(d, &proven.Digest, file.Host, host); err != nil {
			return nil, fmt.Errorf("build last-known-good for the new host file: %w", err)
		}
		slot = known.slot
	}
	ho.swap.Lock()
	defer ho.swap.Unlock()
	if err := ho.swap.moved(d, seen); err != nil {
		return nil, err
	}
	change := loader.Change{Host: &hostSlot, Mode: &mode, Stable: &slot, Back: true, Seen: &seen.epoch}
	if _, err := d.Publish(change); err != nil {
		return nil, publishError(fmt.Errorf("publish host file: %w", err))
	}
	left, note := *r.Applied, ho.before.published(file)
	_ = ho.ledger.Update(func(r *state.Record) {
		r.LeaveAll()
		if known != nil {
			now := generation(proven, known.number, ho.ledger.Now(), r.LastKnownGood.By)
			r.Applied, r.LastKnownGood, r.BakeUntil = &now, &now, time.Time{}
		}
		r.Observed = &left
		note(r)
		r.ModeHeld, r.HeldBack = false, false
	})
	ho.before.settle(file)
	ho.endBypasses(d, before, file.Host)
	e := ho.ledger.Entry(ledger.Itself(), "enforce", "the host enforces now: what it had observed comes in stages")
	e.Outcome, e.Digest, e.Number, e.Name = api.OutcomeDone, left.Digest, left.Number, left.Name()
	ho.ledger.Audit(e)
	return []string{fmt.Sprintf("mode enforce; %s never was last-known-good, so it comes in stages now", left.Name())}, nil
}

// proven is last-known-good without what was taken out since, where that can only let more pass.
func (ho *hosts) proven(r *state.Record) (*config.Set, error) {
	known, err := ho.disk.Set(r.LastKnownGood.Digest)
	if err != nil {
		return nil, err
	}
	next := known
	for _, b := range known.Bundles {
		if !slices.ContainsFunc(r.Applied.Members, func(m state.Member) bool { return m.Name == b.Name }) {
			next = next.Without(b.Name)
		}
	}
	if next.Empty() || next.Policy() == nil || !config.Relaxes(known, next, ho.ledger.Now()) {
		return known, nil // something else takes its place
	}
	return next, ho.disk.SaveSet(next)
}
