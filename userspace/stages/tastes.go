// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// tasteMost is how long an attempt may have no answer, however often somebody else was busy. It is longer than a child
// may live.
const tasteMost = 10 * time.Minute

// tastes run beside the looks, one an attempt at a time.
type tastes struct {
	mu      sync.Mutex
	running map[attempt]bool
	asked   map[attempt]time.Duration // by the engine's clock: since when there has been no answer
	done    []tasted
	taken   []tasted // by a look that has not told yet what must stay
}

// tasted is how one ended.
type tasted struct {
	attempt
	taste rollout.Taste
}

// taste begins one, unless it runs. The change lock is its own matter: a look waits for none.
func (st *Stages) taste(a rollout.Action, order *release.Order) {
	at, o := attempt{a.ID, st.memory.attemptOf(a.ID)}, *order
	if !st.tastes.begin(at, st.Clock()) {
		return
	}
	st.Spawn(func() {
		t, busy := st.Taster().Taste(&o, at.Attempt)
		t.ID = at.ID
		st.tastes.end(at, t, busy)
		if !busy {
			st.hurry()
		}
	})
}

func (m *memory) attemptOf(id string) int {
	for _, r := range []rollout.Run{m.State.Fast, m.State.Main} {
		if r.Change.ID == id {
			return r.Change.Attempt
		}
	}
	return 0
}

// begin reports whether one may begin. A look that was under way when the last one ended does not know of it yet, and
// asks for another.
func (ts *tastes) begin(at attempt, now time.Duration) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.running[at] || slices.ContainsFunc(ts.done, func(t tasted) bool { return t.attempt == at }) {
		return false
	}
	if _, waits := ts.asked[at]; !waits {
		ts.asked[at] = now
	}
	ts.running[at] = true
	return true
}

func (ts *tastes) end(at attempt, t rollout.Taste, busy bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.running, at)
	if !busy {
		delete(ts.asked, at)
		ts.done = append(ts.done, tasted{at, t})
	}
}

// take returns those that ended and are of an attempt that runs. One that does not end has failed: nobody can end what
// this process builds itself, and while it goes on no other begins and nothing else changes; but its rollout does not
// wait for it for ever.
func (ts *tastes) take(s rollout.State, now time.Duration) (out []rollout.Taste) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	runs := func(at attempt) bool {
		return slices.ContainsFunc([]rollout.Run{s.Main, s.Fast}, func(r rollout.Run) bool {
			return r.Change.ID == at.ID && r.Change.Attempt == at.Attempt
		})
	}
	for _, t := range ts.done {
		if runs(t.attempt) {
			out = append(out, t.taste)
		}
	}
	for at, since := range ts.asked {
		switch {
		case !runs(at):
			delete(ts.asked, at)
		case now-since >= tasteMost:
			ts.asked[at] = now
			out = append(out, rollout.Taste{ID: at.ID, Outcome: rollout.TasteFailed,
				Detail: fmt.Sprintf("there was no answer within %s", tasteMost)})
		}
	}
	ts.done, ts.taken = nil, ts.done
	return out
}

// known ends what take began: what was built is kept by the engine's state from here on, or by nobody.
func (ts *tastes) known() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.taken = nil
}

// any reports whether one runs, or ended and no look knows of it: what it built is on trial, too.
func (ts *tastes) any() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.running)+len(ts.done) > 0
}

// built are generations of which no look has told yet that they must stay.
func (ts *tastes) built() (out []uint32) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range slices.Concat(ts.done, ts.taken) {
		out = append(out, t.taste.Number)
	}
	return out
}
