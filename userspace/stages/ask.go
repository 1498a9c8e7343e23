// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// errUnread: what a former agent left cannot be read, so nothing is begun.
var errUnread = &api.Error{Code: api.CodeUnavailable,
	Message: "where the rollouts are cannot be read from disk, so none goes on; nothing changed",
	Fix:     "repair the disk; `spillway rollback` and `spillway bypass on` work at any time"}

// Do has the engine hear a person at once, and returns what it decided in that look.
func (st *Stages) Do(c rollout.Command) ([]rollout.Decision, error) {
	said, looked := st.look([]rollout.Command{c})
	if !looked {
		return nil, errUnread
	}
	return said, nil
}

// Ask hands a change over, with its order: a look between the two would take the order for one that is over.
func (st *Stages) Ask(o release.Order, c rollout.Change) ([]rollout.Decision, error) {
	apply := rollout.Command{Verb: rollout.VerbApply, Change: c, By: c.By, UID: o.UID, Reason: c.Reason}
	said, looked := st.look([]rollout.Command{apply}, story{Order: o, Track: c.Kind.String()})
	if !looked {
		return nil, errUnread
	}
	return said, nil
}
