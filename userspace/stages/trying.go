// SPDX-License-Identifier: Apache-2.0

package stages

import "github.com/spillway/spillway/userspace/rollout"

// Trying returns the change of the rollout that is built and compared, and does not decide for everybody. A start that
// ends may have died of it.
func (st *Stages) Trying() (rollout.Change, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.load() {
		return rollout.Change{}, false
	}
	r := st.memory.State.Main
	return r.Change, r.Stage >= rollout.StageTaste && r.Stage < rollout.StageBake
}

// Baking returns the change of the rollout that decides for everybody and bakes. After a reboot it begins again from
// taste, at the first look.
func Baking(st *Stages) (rollout.Change, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.load() {
		return rollout.Change{}, false
	}
	r := st.memory.State.Main
	return r.Change, r.Stage == rollout.StageBake
}
