// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
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

// runs is the one of a bundle that is under way; another of it may wait.
func (td *told) runs(name string) *api.Rollout {
	return td.find(func(ro *api.Rollout) bool { return ro.Name == name && ro.State == api.RolloutRunning })
}

// baking is the one that decides for everybody.
func (td *told) baking() *api.Rollout {
	return td.find(func(ro *api.Rollout) bool {
		s := ro.Staged
		return ro.State == api.RolloutRunning && s.Stage == rollout.StageBake.String() && s.SharePermille == 1000
	})
}

// endedBy names what a rollback ended beside what it left, for who asked.
func endedBy(decided []rollout.Decision) (all []string) {
	for _, d := range decided {
		if d.To == rollout.StageWithdrawn {
			all = append(all, fmt.Sprintf("rollout %s (%s) is withdrawn: it would have come by itself", d.ID, d.Name))
		}
	}
	return all
}

// instead says that what is asked for is in force already, and that something else of the same bundle comes.
func (td *told) instead(o release.Order) []string {
	ro := td.find(func(ro *api.Rollout) bool {
		return ro.Name == o.Name && ro.ID != o.ID && !ro.Over()
	})
	if ro == nil {
		return nil
	}
	return []string{fmt.Sprintf("rollout %s of %s goes on, and takes its place; to keep what is in force: "+
		"spillway rollout abort %s --reason WHY", ro.ID, ro.Name, ro.ID)}
}

// waits reports whether something of a bundle is on its way.
func (td *told) waits(name string) bool {
	return td.find(func(ro *api.Rollout) bool { return ro.Name == name && !ro.Over() }) != nil
}

// under is one that brings this very bundle already.
func (td *told) under(name string, digest config.Digest) *api.Rollout {
	return td.find(func(ro *api.Rollout) bool {
		return ro.Name == name && ro.Digest == digest && !digest.IsZero() && !ro.Over()
	})
}

// condemn takes a rollout back that a person rolls back, and ends what waits of a bundle; "": of all.
func (st *Stages) condemn(by api.Caller, ro *api.Rollout, name, reason string) {
	_ = st.Ledger.Update(func(r *state.Record) {
		r.Condemn(state.Quarantined{Name: ro.Name, Digest: ro.Digest, At: st.Ledger.Now(), By: by.User, Reason: reason})
	})
	e := st.Ledger.Entry(by, "rollback", reason)
	e.Name, e.Digest, e.Number, e.Outcome = ro.Name, ro.Digest, ro.Number, api.OutcomeDone
	st.Ledger.Audit(e)
	_, _ = st.Do(rollout.Command{Verb: rollout.VerbBack, Change: rollout.Change{Name: name}, By: by.User,
		UID: by.UID, Reason: reason})
}
