// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	engine "github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// wish is what somebody asks of the set in force: a bundle to add or to replace the one of its name with, a name to
// take out, or both at once. So it means the same whatever the set is by the time it comes to it.
type wish struct {
	bundle *config.Bundle
	remove string
	host   config.Digest // the set is compiled for this change of the host file; zero: no wish
	// back is the bundle's or, where there was none, nothing's way back: a rollback of one member.
	back bool
}

// expects is what the bundle declares, for the engine.
func (w wish) expects() engine.Intent {
	if w.bundle == nil || w.bundle.Intent == nil {
		return engine.Intent{}
	}
	return engine.Intent{NewBlocks: w.bundle.Intent.NewBlocks.Fraction(), By: w.bundle.Intent.By}
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
	if !w.host.IsZero() {
		out = append(out, config.HostMember)
	}
	return out
}

// name is what a rollout of the wish is called.
func (w wish) name() string {
	switch {
	case w.bundle != nil:
		return w.bundle.Name
	case !w.host.IsZero():
		return config.HostMember
	}
	return w.remove
}

// on returns the set that the wish makes of another.
func (w wish) on(base *config.Set) (*config.Set, error) {
	next := base
	if !w.host.IsZero() {
		if base.Empty() {
			return nil, noBundle(config.HostMember)
		}
		return base.For(w.host), nil
	}
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
		return nil, &api.Error{Code: api.CodeRefused,
			Message: fmt.Sprintf("the bundle %s is the only one, so it stays in force", w.remove),
			Fix:     "to block nothing: spillway rollback --to empty, or spillway bypass on"}
	case w.remove != "" && policy != nil && policy.Name == w.remove && next.Policy() == nil:
		return nil, &api.Error{Code: api.CodeRefused,
			Message: fmt.Sprintf("the bundle %s has the policy, and %s would stay without one; nothing changed",
				w.remove, next.Name()),
			Fix: "take the others out first; or apply the bundle that has the policy from now on with --remove " + w.remove}
	}
	return next, nil
}

func noBundle(name string) error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("no bundle %q is in force", name),
		Fix: "`spillway status` names what is"}
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

// is reports whether a member of a set is the wish's bundle.
func (w wish) is(m state.Member) bool { return m.Name == w.bundle.Name && m.Digest == w.bundle.Digest }
