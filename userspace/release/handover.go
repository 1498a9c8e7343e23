// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"

	"github.com/spillway/spillway/userspace/api"
)

// A change that waited for its turn when the host began to roll out in stages goes on there, under its number. It is
// left here once it is on disk there:
//
//	Waiting ─▶ OrderOf ─▶ the engine has it on disk ─▶ Leave

// Waiting are the numbers of the changes that wait for their turn, in its order.
func (mg *Manager) Waiting() (ids []string) {
	queued, _ := mg.rollouts.inLine()
	for _, ro := range queued {
		ids = append(ids, ro.ID)
	}
	return ids
}

// OrderOf makes an order of a change that waits for its turn, as Order does of one that is asked for. One that does not
// wait any more is an error.
func (mg *Manager) OrderOf(id string) (*Wanted, error) {
	ro := mg.rollouts.waiting(id)
	if ro == nil {
		return nil, api.NoRollout(id)
	}
	o := Order{ID: id, Kind: ro.Kind, Name: ro.wish.name(), Remove: ro.wish.remove, Key: ro.Key, Accept: ro.Accept,
		Reason: ro.Reason, At: ro.Created, UID: ro.by.UID, By: ro.by.User}
	w, err := mg.orders.want(o, ro.wish)
	if err != nil {
		return nil, err
	}
	w.Change.Confirm = ro.confirm
	return w, nil
}

// Leave takes a change out of the queue. It goes on elsewhere, or it has come to its end: same says that there is
// nothing to do, err why it does not come. It returns false for one that does not wait any more: somebody ended it.
func (mg *Manager) Leave(id string, same *api.Change, err error) bool {
	ro := mg.rollouts.waiting(id)
	switch {
	case ro == nil:
		return false
	case err != nil || same != nil:
		e := mg.ledger.Entry(ro.by, ro.Kind, ro.Reason)
		e.Name, e.Digest, e.Detail = ro.wish.name(), ro.Digest, []string{fmt.Sprintf("rollout %s waited", id)}
		mg.outcome(&e, same, err)
		_, _ = mg.rollouts.finish(ro, same, err)
	case !mg.rollouts.drop(ro):
		return false
	}
	mg.rollouts.save()
	return true
}

// waiting is the change of that number, if it waits for its turn.
func (rs *rollouts) waiting(id string) *rollout {
	queued, _ := rs.inLine()
	for _, ro := range queued {
		if ro.ID == id {
			return ro
		}
	}
	return nil
}

// drop forgets a change that waits; false: it does not wait any more.
func (rs *rollouts) drop(ro *rollout) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for i, other := range rs.all {
		if other == ro && ro.State == api.RolloutQueued {
			rs.all = append(rs.all[:i:i], rs.all[i+1:]...)
			return true
		}
	}
	return false
}
