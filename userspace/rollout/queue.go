// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// start begins what waits and may run: one rollout in the main lane, one change on the fast track beside it.
func (t *turn) start() {
	if i := t.nextFast(); i >= 0 && !t.s.Fast.Stage.runs() {
		t.begin(&t.s.Fast, i)
	}
	i := t.nextMain()
	if i < 0 {
		return
	}
	if t.s.Main.Stage.runs() {
		t.putAside(t.s.Queue[i])
		i++ // what was put aside waits before it
	}
	t.begin(&t.s.Main, i)
}

// putAside makes room for an emergency. The rollout that ran begins again after it; if it baked it stays in force,
// and is not last-known-good before it has gone all the way on what is stable then. An emergency of the same bundle
// that is done leaves nothing to do for it.
func (t *turn) putAside(emergency Change) {
	r := &t.s.Main
	c := r.Change
	d := t.decide(r, StageNone, GateQueue, "It waits for an emergency, and begins again afterwards.")
	if c.Name == emergency.Name {
		c.Aside = emergency.ID
		d.Sentence = "Emergency " + emergency.ID + " of the same bundle goes first; it begins again unless that is done."
	}
	if r.Stage == StageBake && r.Seen {
		c = c.stays(r.Number, r.On, t.s.Joined)
		t.do(DoNote, r, d)
		*r, t.s.Joined = Run{}, nil
	} else {
		t.end(r, d)
	}
	c.Attempt++
	t.s.Queue = append([]Change{c}, t.s.Queue...)
}

// overtaken withdraws what an emergency that is done took the place of.
func overtaken(t *turn, done Change) {
	aside := func(c Change) bool { return c.Aside != "" && c.Aside == done.ID }
	for _, c := range t.s.Queue {
		if aside(c) {
			t.note(c, StageWithdrawn, GateQueue, "Emergency %s of the same bundle is done.", done.ID)
		}
	}
	t.s.Queue = without(t.s.Queue, aside)
}

func (t *turn) begin(r *Run, i int) {
	c := t.s.Queue[i]
	t.s.Queue = slices.Delete(slices.Clone(t.s.Queue), i, i+1)
	*r = Run{Change: c, Stage: StageTaste, Times: Times{Quiet: idleAfter}}
	d := t.decide(r, StageTaste, GateQueue, "Its turn has come.")
	d.From = StageNone
	t.do(DoNote, r, d)
}

// nextFast is the place in the queue of the next change of the fast track; -1 none. What lets more pass always may. A
// list update waits while a rollout bakes, because only one generation bakes at a time; and a rollout that waits to
// bake goes first, so that an hourly feed does not stop it.
func (t *turn) nextFast() int {
	main := t.s.Main
	for i, c := range t.s.Queue {
		if !c.fast(t.s.Guards) {
			continue
		}
		if c.Kind == KindRelax {
			return i
		}
		if t.free(c) && main.Stage != StageBake && main.Waits != waitFast && main.Change.Kind != KindEmergency {
			return i
		}
	}
	return -1
}

// nextMain is the place in the queue of what may take the main lane; -1 none. An emergency takes it from what runs.
func (t *turn) nextMain() int {
	main := t.s.Main
	for i, c := range t.s.Queue {
		if c.Kind == KindEmergency && (!main.Stage.runs() || main.Change.Kind != KindEmergency) {
			return i
		}
	}
	if main.Stage.runs() {
		return -1
	}
	for i, c := range t.s.Queue {
		if !c.fast(t.s.Guards) && t.free(c) {
			return i
		}
	}
	return -1
}

// free reports whether a change may start: a freeze binds automation, not a person with a reason.
func (t *turn) free(c Change) bool {
	return t.s.Frozen == "" || c.Thaw != "" || c.Kind == KindEmergency
}

// queue lets a change wait; the one of the same name before it is withdrawn. A list update beyond the host's
// max_delta takes the long way.
func (t *turn) queue(c Change) {
	if c.Kind == KindDelta && !c.fast(t.s.Guards) {
		c.Kind = KindBundle
	}
	if len(t.s.Queue) >= most {
		t.note(c, StageRefused, GateQueue, "%d changes wait already.", len(t.s.Queue))
		return
	}
	for _, o := range t.s.Queue {
		if o.Name == c.Name {
			c.Stood = o.Stood // until this one takes its place
			t.note(o, StageWithdrawn, GateQueue, "Rollout %s, of the same bundle, took its place.", c.ID)
		}
	}
	t.s.Queue = with(without(t.s.Queue, func(o Change) bool { return o.Name == c.Name }), c)
	t.s.Held = without(t.s.Held, func(h Held) bool { return h.Change.Name == c.Name })
}
