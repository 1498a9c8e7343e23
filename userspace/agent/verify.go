// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// Verify implements api.Backend: the wiring, the host file and every generation with a role, row by row.
func (a *agent) Verify(context.Context) (*api.Verification, error) {
	v, err := a.verify(loader.RoleStable, loader.RoleCandidate, loader.RolePrevious)
	if err != nil {
		return nil, err
	}
	a.keepDrift(v)
	return v, nil
}

// verifyInBackground looks at what decides now.
func (a *agent) verifyInBackground() {
	v, err := a.verify(loader.RoleStable, loader.RoleCandidate)
	if err != nil {
		return
	}
	a.keepDrift(v)
}

func (a *agent) keepDrift(v *api.Verification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drift = &api.Drift{Checked: v.Checked, Entries: v.Entries}
}

// verify compares, and begins again when something was published meanwhile: that would look like drift. It holds no
// lock, so that no change waits for it; a slot that has a role is filled again only after two more changes.
func (a *agent) verify(roles ...string) (*api.Verification, error) {
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	for range 3 {
		epoch := d.Control().Epoch
		v, err := a.compare(d, roles)
		if d.Control().Epoch == epoch {
			return v, err
		}
	}
	return nil, &api.Error{Code: api.CodeConflict, Message: "bundles are published faster than they can be verified", Fix: "try again later"}
}

func (a *agent) compare(d dataplane, roles []string) (*api.Verification, error) {
	v := &api.Verification{Envelope: api.NewEnvelope(), Checked: a.now().UTC(), Entries: []api.DriftEntry{}}
	drifts, err := d.VerifyWiring()
	if err != nil {
		return nil, err
	}
	add(v, drifts)
	unnamed, err := a.unnamed(d)
	if err != nil {
		return nil, err
	}
	for _, at := range unnamed {
		v.Entries = append(v.Entries, api.DriftEntry{Where: "interface " + at.Interface, Want: "nothing: the host file does not name it", Got: "a pinned link"})
	}
	if d.Control().Host == 0 {
		v.Left = append(v.Left, "no host file is published")
		return v, nil
	}
	host, err := compileHost(d, a.hostFile(), 0)
	if err != nil {
		return nil, err
	}
	if drifts, err = d.VerifyHost(host); err != nil {
		return nil, err
	}
	add(v, drifts)
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	named, err := generations(d)
	if err != nil {
		return nil, err
	}
	a.nameGenerations(named)
	for i, g := range all {
		if !slices.Contains(roles, g.Role) || i >= len(named) {
			continue
		}
		img, err := a.imageOf(g, host)
		if err != nil {
			v.Left = append(v.Left, fmt.Sprintf("%s generation %d: %v", g.Role, g.Number, err))
			continue
		}
		v.Generations = append(v.Generations, named[i])
		if built := named[i].Compiled; !built.IsZero() && built != img.Compiled() {
			v.Entries = append(v.Entries, api.DriftEntry{Where: fmt.Sprintf("%s generation %d", g.Role, g.Number), Want: "compiled " + built.Short(), Got: "the bundle on disk compiles to " + img.Compiled().Short()})
		}
		if drifts, err = d.VerifyGeneration(g.Slot, img); err != nil {
			return nil, err
		}
		add(v, drifts)
	}
	v.OK = len(v.Entries) == 0 && len(v.Left) == 0
	return v, nil
}

func add(v *api.Verification, drifts []loader.Drift) {
	for _, d := range drifts {
		v.Entries = append(v.Entries, api.DriftEntry(d))
	}
}
