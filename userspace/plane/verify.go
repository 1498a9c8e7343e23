// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// Verify compares the wiring, the host file and every generation with a role, row by row.
func (rw *Rows) Verify(context.Context) (*api.Verification, error) {
	v, err := rw.verify(rw.compareRows, loader.RoleStable, loader.RoleCandidate, loader.RolePrevious)
	if err != nil {
		return nil, err
	}
	rw.keepDrift(v)
	return v, nil
}

// VerifyInBackground looks at what decides now, in little memory: whoever wants to know which rows differ asks for it.
func (rw *Rows) VerifyInBackground() {
	v, err := rw.verify(rw.compareSums, loader.RoleStable, loader.RoleCandidate)
	if err != nil {
		return
	}
	rw.keepDrift(v)
}

func (rw *Rows) keepDrift(v *api.Verification) {
	rw.drift.mu.Lock()
	defer rw.drift.mu.Unlock()
	rw.drift.last = &api.Drift{Checked: v.Checked, Entries: v.Entries}
}

// verify compares, and begins again when something was published meanwhile: that would look like drift. It holds no
// lock, so that no change waits for it; a slot that has a role is filled again only after two more changes.
func (rw *Rows) verify(one comparison, roles ...string) (*api.Verification, error) {
	d, done, err := rw.use()
	if err != nil {
		return nil, err
	}
	defer done()
	for range 3 {
		epoch := d.Control().Epoch
		v, err := rw.compare(d, one, roles)
		if d.Control().Epoch == epoch {
			return v, err
		}
	}
	return nil, &api.Error{Code: api.CodeConflict, Message: "bundles are published faster than they can be verified",
		Fix: "try again later"}
}

// comparison compares one generation with what it should be; left says why it could not.
type comparison func(d Slots, g loader.GenerationInfo,
	host *compile.HostImage) (drifts []compile.Drift, left, err error)

// compareRows compares every row with the bundle on disk, compiled again. That takes the memory of an apply.
func (rw *Rows) compareRows(d Slots, g loader.GenerationInfo,
	host *compile.HostImage) (drifts []compile.Drift, left, err error) {
	defer rw.Disk.Attempt(ledger.WorkVerify)()
	return rw.rows(d, g, host)
}

func (rw *Rows) rows(d Slots, g loader.GenerationInfo,
	host *compile.HostImage) (drifts []compile.Drift, left, err error) {
	img, left := rw.imageOf(g, host)
	if left != nil {
		return nil, left, nil
	}
	if drifts, err = d.VerifyGeneration(g.Slot, img); err != nil {
		return nil, nil, err
	}
	if built := rw.compiledOf(g.Number); !built.IsZero() && built != img.Compiled() {
		drifts = append(drifts,
			compile.Drift{Where: fmt.Sprintf("%s generation %d", g.Role, g.Number), Want: "compiled " + built.Short(),
				Got: "the bundle on disk compiles to " + img.Compiled().Short()})
	}
	return drifts, nil, nil
}

// compiledOf is the digest of what was compiled for a generation, zero when nobody knows.
func (rw *Rows) compiledOf(number uint32) config.Digest {
	for _, c := range rw.Ledger.Record().Compiled {
		if c.Number == number {
			return c.Digest
		}
	}
	return config.Digest{}
}

// compareSums compares what a slot holds with what was built, by the sums of the tables. A generation that an older
// version built has none: it is compared row by row, unless somebody died of that.
func (rw *Rows) compareSums(d Slots, g loader.GenerationInfo,
	host *compile.HostImage) (drifts []compile.Drift, left, err error) {
	all := rw.Ledger.Record().Compiled
	i := slices.IndexFunc(all, func(c state.Compiled) bool { return c.Number == g.Number && len(c.Sums) > 0 })
	if i < 0 {
		left = rw.Ledger.Optional(ledger.WorkVerify, func() error { drifts, left, err = rw.rows(d, g, host); return left })
		return drifts, left, err
	}
	sums, err := d.SumGeneration(g.Slot)
	if err != nil {
		return nil, nil, err
	}
	return compile.Sums(all[i].Sums).Drift(g.Slot, sums), nil, nil
}

func (rw *Rows) compare(d Kernel, one comparison, roles []string) (*api.Verification, error) {
	v := &api.Verification{Envelope: api.NewEnvelope(), Checked: rw.Ledger.Now().UTC(), Entries: []api.DriftEntry{}}
	drifts, err := d.VerifyWiring()
	if err != nil {
		return nil, err
	}
	add(v, drifts)
	if drifts, err = d.VerifyVouched(); err != nil {
		return nil, err
	}
	add(v, drifts)
	unnamed, err := rw.links.unnamed(d)
	if err != nil {
		return nil, err
	}
	for _, at := range unnamed {
		v.Entries = append(v.Entries,
			api.DriftEntry{Where: "interface " + at.Interface, Want: "nothing: the host file does not name it",
				Got: "a pinned link"})
	}
	if d.Control().Host == 0 {
		v.Left = append(v.Left, "no host file is published")
		return v, nil
	}
	file := rw.File()
	host, err := hostfile.Compile(d, file, 0)
	if err != nil {
		return nil, err
	}
	if drifts, err = d.VerifyHost(host); err != nil {
		return nil, err
	}
	if file.Unpublished && len(drifts) > 0 {
		v.Left, drifts = append(v.Left, "the host file is not published yet; the one before goes on"), nil
	}
	add(v, drifts)
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	named, err := rw.named(d)
	if err != nil {
		return nil, err
	}
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

func add(v *api.Verification, drifts []compile.Drift) {
	for _, d := range drifts {
		v.Entries = append(v.Entries, api.DriftEntry(d))
	}
}
