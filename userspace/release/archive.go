// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// archive is what was in force, and is on disk.
type archive struct {
	*site
	use     func() (Kernel, func(), error)
	disk    archiveFiles
	waiting func() []config.Digest // of bundles that somebody still needs
}

func (ar *archive) prune(d view.Kernel) {
	keep := append(ar.ledger.Record().References(), ar.waiting()...)
	if all, err := d.Generations(); err == nil {
		for _, g := range all {
			keep = append(keep, g.Digest)
		}
	}
	if err := ar.disk.Prune(keep); err != nil {
		ar.log.Warn("old bundles stay", "error", err)
	}
}

// versionBefore returns the last other version of a bundle that was in force and is on disk.
func (ar *archive) versionBefore(r *state.Record, now state.Member) *config.Bundle {
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
			if b, err := ar.disk.Bundle(m.Digest); err == nil {
				return b
			}
		}
	}
	return nil
}

// inForce returns the stable generation: the kernel's, or the record's when the kernel part is not loaded.
func (ar *archive) inForce() *state.Generation {
	d, done, err := ar.use()
	if err != nil {
		return ar.ledger.Record().Applied
	}
	defer done()
	all, err := d.Generations()
	if err != nil {
		return nil
	}
	g, ok := view.InSlot(all, d.Control().Stable)
	if !ok {
		return nil
	}
	return &state.Generation{Digest: g.Digest, Number: g.Number, At: g.Built}
}

// stored lists the generations that can be gone back to: those whose bundles are on disk.
func (ar *archive) stored() []state.Generation {
	return slices.DeleteFunc(ar.ledger.Record().Stored(), func(g state.Generation) bool {
		return slices.ContainsFunc(g.Bundles(), func(d config.Digest) bool { return !ar.disk.Has(d) })
	})
}

func (ar *archive) storedGeneration(number uint32) (state.Generation, error) {
	for _, g := range ar.stored() {
		if g.Number == number {
			return g, nil
		}
	}
	if r := ar.ledger.Record(); r.Applied != nil && r.Applied.Number == number {
		return state.Generation{}, &api.Error{Code: api.CodeConflict,
			Message: fmt.Sprintf("generation %d is in force already; nothing changed", number),
			Fix:     "`spillway status` says where you can go back to"}
	}
	return state.Generation{}, &api.Error{Code: api.CodeNotFound,
		Message: fmt.Sprintf("generation %d is not stored; nothing changed", number), Fix: api.Ways(ar.ways())}
}

func (ar *archive) noPrevious() error {
	return &api.Error{Code: api.CodeNoPrevious, Message: "there is no previous generation to go back to; nothing changed",
		Fix: api.Ways(ar.ways())}
}

// ways lists the same for the API.
func (ar *archive) ways() []api.Known {
	out := []api.Known{}
	for _, g := range ar.stored() {
		out = append(out, api.Known{Digest: g.Digest, Name: g.Name(), Number: g.Number, Since: g.At.UTC()})
	}
	return out
}

// bundles lists the set in force.
func (ar *archive) bundles() *api.BundleList {
	list := &api.BundleList{Envelope: api.NewEnvelope(), Bundles: []api.Bundle{}}
	g := ar.inForce()
	if g == nil {
		return list
	}
	policy, by := ar.policyOf(g.Digest), ""
	if r := ar.ledger.Record().Applied; r != nil && r.Number == g.Number {
		by = r.By
	}
	for _, m := range ar.ledger.MembersOf(g.Digest) {
		list.Bundles = append(list.Bundles,
			api.Bundle{Name: m.Name, Digest: m.Digest, Number: g.Number, Since: g.At.UTC(), By: by, Policy: m.Name == policy})
	}
	return list
}

// policyOf returns the name of the bundle that has the policy; "" when none has, or nobody here knows.
func (ar *archive) policyOf(d config.Digest) string {
	known, _ := ar.ledger.Record().Known(d)
	for _, m := range known.Members {
		if m.Policy {
			return m.Name
		}
	}
	if set, err := ar.disk.Set(d); err == nil && set.Policy() != nil { // a record of before
		return set.Policy().Name
	}
	return ""
}

// baseFor returns the set of a generation, as far as a wish needs it. A bundle that is not on disk may be what comes
// now; without another one the set would lose it.
func (ar *archive) baseFor(g loader.GenerationInfo, resident bool, w wish) (*config.Set, error) {
	if !resident {
		return config.NewSet(), nil
	}
	set, err := ar.disk.Set(g.Digest)
	if err == nil {
		return set, nil
	}
	if !errors.Is(err, state.ErrNoBundle) {
		return nil, &api.Error{Code: api.CodeUnavailable,
			Message: "nothing changed: what is in force cannot be read: " + err.Error(),
			Fix:     "repair the disk; or move that file away, and growth is not judged"}
	}
	lost, rest := ar.ledger.MembersOf(g.Digest), config.NewSet()
	var missing *state.MissingError
	if errors.As(err, &missing) {
		lost, rest = missing.Members, missing.Rest
	}
	for _, m := range lost {
		if m.Name != "" && m.Name != w.remove && (w.bundle == nil || w.bundle.Name != m.Name) {
			return nil, &api.Error{Code: api.CodeConflict,
				Message: fmt.Sprintf("the bundle %s of the set in force is not on disk, so it would be lost; nothing changed",
					m.Name),
				Fix: "apply " + m.Name + " first"}
		}
	}
	ar.log.Warn("a bundle in force is not on disk: growth cannot be judged", "error", err)
	return rest, nil
}
