// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
)

// Look is one turn of the engine.
func (st *Stages) Look() { st.look(nil) }

// look returns what was decided; false: nothing can be. fresh are the stories of what is asked for.
func (st *Stages) look(commands []rollout.Command, fresh ...story) (decided []rollout.Decision, looked bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.load() {
		return nil, false
	}
	guards, on := st.Guards()
	if !on && len(commands) == 0 {
		if !st.memory.runs() {
			return nil, true
		}
		commands = st.stop()
	}
	if on && st.disk.first {
		tellFirst(st)
	}
	st.memory.Stories = append(slices.Clip(st.memory.Stories), fresh...)
	commands = slices.Concat(st.backs(), st.lost(), commands)
	st.memory.State.Guards = guards
	st.before(commands)
	e := rollout.Evidence{Commands: commands, Taste: st.tastes.take(st.memory.State, st.Clock()), Health: st.Health()}
	st.votes(&e)
	kernel, all := st.Hand().Look() // last: what counts may be of a moment before, never the other way round
	e.Kernel = kernel
	st.follow(kernel, all)
	condemned := st.memory.State.Quarantine
	before := st.memory.State
	next, actions := rollout.Step(before, e, st.Clock())
	st.memory.State = next
	st.memory.froze(before, commands, st.Ledger.Now().UTC().Truncate(time.Second))
	st.memory.forget()
	decided = st.decisions(actions)
	st.renew(actions)
	st.after(condemned, next.Quarantine)
	st.tellAround()
	st.tastes.known()
	last := st.memory.Last
	want := st.comparing()
	st.tell(decided, before, next, e)
	saved := st.written(len(decided)+len(commands) > 0 || st.memory.Last != last)
	st.carry(actions, saved)
	st.done(rollout.Action{Do: rollout.DoNote}, st.Hand().Compare(want))
	if !st.tastes.any() {
		st.Hand().EndTrials(st.around.keeps())
	}
	st.show(kernel, e)
	return decided, true
}

// tellFirst says once, where bundles came into force at once before, that they do not any more: nobody may have asked
// for it, because stages are what a host file asks for that does not say.
func tellFirst(st *Stages) {
	st.disk.first, st.disk.dirty = false, true
	if st.Ledger.Record().Applied == nil {
		return // a new host
	}
	const says = "from now on changes go in stages (guards.rollout: staged, the default); what is in force goes on"
	st.Log.Warn(says, "at once, as before", "guards.rollout: direct in the host file, and spillway reload")
	e := st.Ledger.Entry(ledger.Itself(), "rollout", says)
	e.Outcome = api.OutcomeDone
	st.Ledger.Audit(e)
}

// written reports whether what was decided is on disk.
func (st *Stages) written(decided bool) bool {
	s := &st.memory.State
	if !decided && !st.disk.dirty && (!st.memory.runs() || s.Clock-st.disk.wrote < saveEvery) {
		return true
	}
	return st.save() == nil
}

func (st *Stages) decisions(actions []rollout.Action) (out []rollout.Decision) {
	for _, a := range actions {
		if a.Do == rollout.DoKnownGood {
			st.memory.Baked = a.Number
		}
		if a.Decision != nil {
			out = append(out, *a.Decision)
		}
	}
	return out
}

// lost ends what has no order any more: nobody could carry it out, and it would keep its lane for ever.
func (st *Stages) lost() (out []rollout.Command) {
	s := &st.memory.State
	for _, c := range append([]rollout.Change{s.Main.Change, s.Fast.Change}, s.Queue...) {
		if c.ID != "" && st.memory.order(c.ID) == nil {
			st.Log.Error("the order of a rollout is lost, and the rollout ends", "rollout", c.ID, "name", c.Name)
			out = append(out, rollout.Command{Verb: rollout.VerbAbort, ID: c.ID, By: ledger.Itself().User,
				Reason: "its order is lost; apply it again"})
		}
	}
	return out
}

// stop ends all that runs: the host file does not ask for stages any more.
func (st *Stages) stop() (out []rollout.Command) {
	for _, c := range st.memory.changes() {
		out = append(out, rollout.Command{Verb: rollout.VerbAbort, ID: c.ID, By: "agent",
			Reason: "guards.rollout is direct now"})
	}
	return out
}
