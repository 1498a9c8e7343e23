// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// Verify implements api.Backend: the wiring, the host file and every generation with a role, row by row.
func (a *agent) Verify(context.Context) (*api.Verification, error) {
	v, err := a.verify(a.compareRows, loader.RoleStable, loader.RoleCandidate, loader.RolePrevious)
	if err != nil {
		return nil, err
	}
	a.keepDrift(v)
	return v, nil
}

// verifyInBackground looks at what decides now, in little memory: whoever wants to know which rows differ asks for it.
func (a *agent) verifyInBackground() {
	v, err := a.verify(a.compareSums, loader.RoleStable, loader.RoleCandidate)
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
func (a *agent) verify(one comparison, roles ...string) (*api.Verification, error) {
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	for range 3 {
		epoch := d.Control().Epoch
		v, err := a.compare(d, one, roles)
		if d.Control().Epoch == epoch {
			return v, err
		}
	}
	return nil, &api.Error{Code: api.CodeConflict, Message: "bundles are published faster than they can be verified", Fix: "try again later"}
}

// comparison compares one generation with what it should be; left says why it could not.
type comparison func(d dataplane, g loader.GenerationInfo, host *loader.HostImage) (drifts []loader.Drift, left, err error)

// compareRows compares every row with the bundle on disk, compiled again. That takes the memory of an apply.
func (a *agent) compareRows(d dataplane, g loader.GenerationInfo, host *loader.HostImage) (drifts []loader.Drift, left, err error) {
	defer a.ledger.Store().Attempt(ledger.WorkVerify)()
	return a.rows(d, g, host)
}

func (a *agent) rows(d dataplane, g loader.GenerationInfo, host *loader.HostImage) (drifts []loader.Drift, left, err error) {
	img, left := a.imageOf(g, host)
	if left != nil {
		return nil, left, nil
	}
	if drifts, err = d.VerifyGeneration(g.Slot, img); err != nil {
		return nil, nil, err
	}
	if built := a.compiledOf(g.Number); !built.IsZero() && built != img.Compiled() {
		drifts = append(drifts, loader.Drift{Where: fmt.Sprintf("%s generation %d", g.Role, g.Number), Want: "compiled " + built.Short(), Got: "the bundle on disk compiles to " + img.Compiled().Short()})
	}
	return drifts, nil, nil
}

// compiledOf is the digest of what was compiled for a generation, zero when nobody knows.
func (a *agent) compiledOf(number uint32) config.Digest {
	for _, c := range a.ledger.Record().Compiled {
		if c.Number == number {
			return c.Digest
		}
	}
	return config.Digest{}
}

// compareSums compares what a slot holds with what was built, by the sums of the tables. A generation that an older
// version built has none: it is compared row by row, unless somebody died of that.
func (a *agent) compareSums(d dataplane, g loader.GenerationInfo, host *loader.HostImage) (drifts []loader.Drift, left, err error) {
	all := a.ledger.Record().Compiled
	i := slices.IndexFunc(all, func(c state.Compiled) bool { return c.Number == g.Number && len(c.Sums) > 0 })
	if i < 0 {
		left = a.ledger.Optional(ledger.WorkVerify, func() error { drifts, left, err = a.rows(d, g, host); return left })
		return drifts, left, err
	}
	sums, err := d.SumGeneration(g.Slot)
	if err != nil {
		return nil, nil, err
	}
	return loader.Sums(all[i].Sums).Drift(g.Slot, sums), nil, nil
}

func (a *agent) compare(d dataplane, one comparison, roles []string) (*api.Verification, error) {
	v := &api.Verification{Envelope: api.NewEnvelope(), Checked: a.now().UTC(), Entries: []api.DriftEntry{}}
	drifts, err := d.VerifyWiring()
	if err != nil {
		return nil, err
	}
	add(v, drifts)
	if drifts, err = d.VerifyVouched(); err != nil {
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
		drifts, left, err := one(d, g, host)
		if err != nil {
			return nil, err
		}
		if left != nil {
			v.Left = append(v.Left, fmt.Sprintf("%s generation %d: %v", g.Role, g.Number, left))
			continue
		}
		v.Generations = append(v.Generations, named[i])
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
