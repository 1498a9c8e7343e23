// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// wish is what somebody asks of the set in force: a bundle to add or to replace the one of its name with, a name to take
// out, or both at once. So it means the same whatever the set is by the time it comes to it.
type wish struct {
	bundle *config.Bundle
	remove string
	// back is the bundle's or, where there was none, nothing's way back: a rollback of one member.
	back bool
}

// names are those of the bundles that the wish touches.
func (w wish) names() []string {
	var out []string
	if w.bundle != nil {
		out = append(out, w.bundle.Name)
	}
	if w.remove != "" && (w.bundle == nil || w.bundle.Name != w.remove) {
		out = append(out, w.remove)
	}
	return out
}

// name is what a rollout of the wish is called.
func (w wish) name() string {
	if w.bundle != nil {
		return w.bundle.Name
	}
	return w.remove
}

// on returns the set that the wish makes of another.
func (w wish) on(base *config.Set) (*config.Set, error) {
	next := base
	if w.remove != "" {
		if base.Named(w.remove) == nil {
			return nil, noBundle(w.remove)
		}
		next = next.Without(w.remove)
	}
	if w.bundle != nil {
		next = next.With(w.bundle)
	}
	switch policy := base.Policy(); {
	case next.Empty():
		return nil, &api.Error{Code: api.CodeRefused, Message: fmt.Sprintf("the bundle %s is the only one, so it stays in force", w.remove),
			Fix: "to block nothing: spillway rollback --to empty, or spillway bypass on"}
	case w.remove != "" && policy != nil && policy.Name == w.remove && next.Policy() == nil:
		return nil, &api.Error{Code: api.CodeRefused, Message: fmt.Sprintf("the bundle %s has the policy, and %s would stay without one; nothing changed", w.remove, next.Name()),
			Fix: "take the others out first; or apply the bundle that has the policy from now on with --remove " + w.remove}
	}
	return next, nil
}

func noBundle(name string) error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("no bundle %q is in force", name), Fix: "`spillway status` names what is"}
}

// onHost is on, checked for this host.
func (mg *Manager) onHost(w wish, base *config.Set) (*config.Set, error) {
	next, err := w.on(base)
	if err != nil {
		return nil, err
	}
	if err := next.Check(mg.Host()); err != nil {
		return nil, api.Refuse("the set of bundles is refused; what is in force goes on", err)
	}
	return next, nil
}

// baseFor returns the set of a generation, as far as a wish needs it. A bundle that is not on disk may be what comes now;
// without another one the set would lose it.
func (mg *Manager) baseFor(g loader.GenerationInfo, resident bool, w wish) (*config.Set, error) {
	if !resident {
		return config.NewSet(), nil
	}
	set, err := mg.Disk.Set(g.Digest)
	if err == nil {
		return set, nil
	}
	if !errors.Is(err, state.ErrNoBundle) {
		return nil, &api.Error{Code: api.CodeUnavailable, Message: "nothing changed: what is in force cannot be read: " + err.Error(),
			Fix: "repair the disk; or move that file away, and growth is not judged"}
	}
	lost, rest := mg.Ledger.MembersOf(g.Digest), config.NewSet()
	var missing *state.MissingError
	if errors.As(err, &missing) {
		lost, rest = missing.Members, missing.Rest
	}
	for _, m := range lost {
		if m.Name != "" && m.Name != w.remove && (w.bundle == nil || w.bundle.Name != m.Name) {
			return nil, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("the bundle %s of the set in force is not on disk, so it would be lost; nothing changed", m.Name),
				Fix: "apply " + m.Name + " first"}
		}
	}
	mg.Log.Warn("a bundle in force is not on disk: growth cannot be judged", "error", err)
	return rest, nil
}

// generation is what the record says of a set that got a number.
func generation(set *config.Set, number uint32, at time.Time, by string) state.Generation {
	return state.Generation{Digest: set.Digest, Members: state.MembersOf(set), Number: number, At: at.UTC(), By: by}
}

// replaces returns the bundle that goes as another comes in the same change; nil when none does.
func (w wish) replaces(base *config.Set) *config.Bundle {
	if w.bundle == nil || w.remove == "" || w.remove == w.bundle.Name || base.Named(w.bundle.Name) != nil {
		return nil
	}
	return base.Named(w.remove)
}
