// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// list returns all rollouts that are known, the newest first.
func (td *told) list() (all []api.Rollout, rest api.Stages) {
	td.mu.Lock()
	defer td.mu.Unlock()
	all = append(slices.Clone(td.over), td.live...)
	slices.Reverse(all)
	return all, td.rest
}

func (td *told) find(is func(*api.Rollout) bool) *api.Rollout {
	all, _ := td.list()
	for i := range all {
		if is(&all[i]) {
			return &all[i]
		}
	}
	return nil
}

// rollout is that of an id; nil: there is none.
func (td *told) rollout(id string) *api.Rollout {
	return td.find(func(ro *api.Rollout) bool { return ro.ID == id })
}

// named is the newest of a bundle.
func (td *told) named(name string) *api.Rollout {
	return td.find(func(ro *api.Rollout) bool { return ro.Name == name })
}

// under is one that brings this very bundle already.
func (td *told) under(name string, digest config.Digest) *api.Rollout {
	return td.find(func(ro *api.Rollout) bool {
		return ro.Name == name && ro.Digest == digest && !digest.IsZero() && !ro.Over()
	})
}

// condemn takes a rollout back that a person rolls back.
func (st *Stages) condemn(by api.Caller, ro *api.Rollout, reason string) {
	_ = st.Ledger.Update(func(r *state.Record) {
		r.Condemn(state.Quarantined{Name: ro.Name, Digest: ro.Digest, At: st.Ledger.Now(), By: by.User, Reason: reason})
	})
	e := st.Ledger.Entry(by, "rollback", reason)
	e.Name, e.Digest, e.Number, e.Outcome = ro.Name, ro.Digest, ro.Number, api.OutcomeDone
	st.Ledger.Audit(e)
	st.Look()
}
