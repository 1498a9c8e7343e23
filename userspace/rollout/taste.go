// SPDX-License-Identifier: Apache-2.0

package rollout

// tasteTries is how often a host that cannot taste is asked again.
const tasteTries = 5

// tasted takes what the child said of a lane's generation. What was built on another stable generation than the one
// in force is not taken: it is built again.
func (t *turn) tasted(r *Run) {
	k := t.e.Kernel
	for _, taste := range t.e.Taste {
		again := r.stale(k)
		if !r.Stage.runs() || taste.ID != r.Change.ID || r.Stage != StageTaste && !again {
			continue
		}
		switch taste.Outcome {
		case TastePassed:
			if k.Known && taste.Base == k.Stable && taste.Number != 0 {
				if !longer(t, r, taste.Way) {
					t.built(r, taste, again)
				}
			}
		case TasteFailed:
			if r.Tries++; r.Tries >= tasteTries {
				t.end(r, t.decide(r, StageHeld, GateTaste, "This host could not try the bundle: %s.", taste.Detail))
			}
		default:
			t.end(r, judgeOf(t).distaste(r, taste, again))
		}
	}
}

func (j judge) distaste(r *Run, taste Taste, again bool) *Decision {
	to, gate, what := StageRefused, GateTaste, "crashed"
	switch taste.Outcome {
	case TasteHung:
		what = "did not come to an end"
	case TasteWrong:
		what = "built what it should not"
	case TasteGolden:
		gate, what = GateProtected, "showed that golden client "+taste.Golden+" would be blocked"
	}
	if again && taste.Outcome != TasteGolden {
		to, gate = StageHeld, GateRebase // it was good on what was stable before
	}
	if again && taste.Outcome == TasteGolden {
		to = bad(r)
	}
	d := j.turn.decide(r, to, gate, "The child that tried the bundle %s. %s", what, taste.Detail)
	d.Condemns = to != StageHeld
	return d
}

// built takes a generation: the first, or one on a changed base. The evidence so far stays.
func (t *turn) built(r *Run, taste Taste, again bool) {
	r.Number, r.On, r.Tries, r.Seen = taste.Number, taste.Base, 0, false
	r.Tally = r.Tally.next(taste.Number)
	if again {
		t.do(DoNote, r, t.decide(r, r.Stage, GateRebase,
			"What is stable has changed; the candidate is generation %d now and keeps its evidence.", r.Number))
		return
	}
	stage := StageShadow
	if r.Observed = t.e.Kernel.Observes; r.Change.Kind == KindRelax || r.Observed {
		stage = StageBake
	}
	d := t.decide(r, stage, GateTaste, "Generation %d was built and tried.", taste.Number)
	*r = r.enter(stage, 0)
	t.do(DoNote, r, d)
}

// longer sends a change the long way that came by the fast track, and is no such change of what is stable now.
func longer(t *turn, r *Run, way *Way) bool {
	c := r.Change
	if way == nil || !t.isFast(r) || way.Kind == KindRelax || c.Kind == KindEmergency {
		return false
	}
	c.Kind, c.Delta = way.Kind, way.Delta
	if c.Kind == KindDelta && r.Change.Kind == KindDelta && c.fast(t.s.Guards) {
		return false
	}
	if c.Kind == KindDelta && !c.fast(t.s.Guards) {
		c.Kind = KindBundle
	}
	t.end(r, t.decide(r, StageNone, GateRebase, "What is stable has changed, and it can newly block more than that: "+
		"it begins again, as a %s.", c.Kind))
	t.s.Queue = append([]Change{c}, t.s.Queue...)
	return true
}
