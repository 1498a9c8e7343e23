// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// Do has the engine hear a person at once, and returns what it decided in that look.
func (st *Stages) Do(c rollout.Command) []rollout.Decision { return st.look([]rollout.Command{c}) }

// Ask hands a change over.
func (st *Stages) Ask(o release.Order, c rollout.Change) []rollout.Decision {
	st.mu.Lock()
	st.memory.Orders = append(st.memory.Orders, o)
	st.mu.Unlock()
	return st.Do(rollout.Command{Verb: rollout.VerbApply, Change: c, By: c.By, Reason: c.Reason})
}
