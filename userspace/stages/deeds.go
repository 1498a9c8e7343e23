// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// renew comes before all else: a disk that takes its time must not cost a lease.
func (st *Stages) renew(actions []rollout.Action) {
	for _, a := range actions {
		if a.Do == rollout.DoLease {
			st.done(a, st.Hand().Lease(a.Number))
		}
	}
}

// carry has the other actions carried out. What is not on disk yet goes no further, unless it lets more pass.
func (st *Stages) carry(actions []rollout.Action, saved bool) {
	for _, a := range actions {
		switch a.Do {
		case rollout.DoNote, rollout.DoLease:
			continue
		case rollout.DoTakeBack:
			st.done(a, st.Hand().TakeBack(a.Number, a.To, whyBack(a.Number, actions)))
			continue
		}
		if order := st.memory.order(a.ID); order != nil && (saved || st.memory.relaxes(a.ID)) {
			st.done(a, st.act(a, order))
		}
	}
	if saved && st.memory.Baked != 0 {
		st.baked()
	}
}

// baked writes down that a generation is last-known-good. The engine says so once, and the disk may refuse.
func (st *Stages) baked() {
	err := st.Hand().KnownGood(st.memory.Baked)
	st.done(rollout.Action{Do: rollout.DoKnownGood, Number: st.memory.Baked}, err)
	if err == nil || st.memory.Stable.Number != st.memory.Baked {
		st.memory.Baked, st.disk.dirty = 0, true
	}
}

func (st *Stages) act(a rollout.Action, order *release.Order) error {
	switch a.Do {
	case rollout.DoTaste:
		st.taste(a, order)
	case rollout.DoPublish:
		return st.Hand().Publish(a.Number, a.On, a.Share)
	case rollout.DoBeside:
		return st.Hand().Beside(a.Number, a.On)
	case rollout.DoShare:
		return st.Hand().Share(a.Number, a.Share)
	case rollout.DoPromote:
		relaxes, main := st.memory.relaxes(a.ID), st.memory.State.Main
		return st.Hand().Promote(release.Promotion{Number: a.Number, On: a.On, Observing: a.Observes, Order: order,
			Joins: relaxes && main.Stage == rollout.StageBake && main.Number == a.On,
			Bakes: relaxes && !a.Observes, Budget: !relaxes && !a.Observes})
	}
	return nil
}

// done tells of a deed that failed. The engine asks again at the next look.
func (st *Stages) done(a rollout.Action, err error) {
	if err != nil {
		st.Log.Debug("a step of a rollout was not carried out; it is asked for again", "do", a.Do, "rollout", a.ID,
			"number", a.Number, "error", err)
	}
}

// relaxes reports whether a change can only let more pass.
func (m *memory) relaxes(id string) bool {
	for _, r := range []rollout.Run{m.State.Fast, m.State.Main} {
		if r.Change.ID == id {
			return r.Change.Kind == rollout.KindRelax
		}
	}
	return false
}

// whyBack is the sentence of the decision that ended a generation, for the history.
func whyBack(number uint32, actions []rollout.Action) string {
	for _, a := range actions {
		if a.Number == number && a.Decision != nil {
			return a.Decision.Sentence
		}
	}
	return "it is asked for again"
}
