// SPDX-License-Identifier: Apache-2.0

package rollout

// carry asks for what the kernel should be and is not. It compares what is wanted with what was read, each time: an
// action that failed is repeated, one whose effect is seen is not.
func (t *turn) carry() {
	k := t.e.Kernel
	if !k.Known {
		return
	}
	t.leave()
	for _, r := range []*Run{&t.s.Fast, &t.s.Main} {
		if !r.Stage.runs() {
			continue
		}
		switch {
		case r.Number == 0 || r.stale(k):
			t.do(DoTaste, r, nil)
		case r.Stage == StageBake:
			// On what is about to leave nothing is put: it would keep that in force.
			if !r.Seen && k.Stable == r.Number {
				r.Seen = true
				standsOn(t, r)
			}
			if k.Stable != r.Number && !t.leaves(k.Stable) {
				t.do(DoPromote, r, nil)
			}
		case t.isFast(r):
			if r.Seen = r.Seen || k.Beside == r.Number; k.Beside != r.Number {
				t.do(DoBeside, r, nil)
			}
		case k.Candidate != r.Number:
			t.do(DoPublish, r, nil)
		default:
			r.Seen = true
			if k.Share != r.share(t.s.Guards) {
				t.do(DoShare, r, nil)
			}
		}
		// Only who still looks renews it, also while it waits to become stable.
		if r.Stage == StageCanary && r.Number != 0 || r.Stage == StageBake && k.Candidate == r.Number && r.Number != 0 {
			t.do(DoLease, r, nil)
		}
	}
}

// orphan lets a candidate leave that is no lane's: a rollout ended between being built again and being published.
func (t *turn) orphan(number uint32, r *Run) {
	if number == 0 || t.leaves(number) || r.Number != 0 && (r.Stage != StageBake || r.Number == number) {
		return
	}
	t.s.Undo = with(t.s.Undo, Undo{Number: number})
}

// leave asks for generations to leave until they are seen to be gone.
func (t *turn) leave() {
	k := t.e.Kernel
	t.s.Undo = without(t.s.Undo, func(u Undo) bool {
		return u.Number != k.Stable && u.Number != k.Candidate && u.Number != k.Beside
	})
	t.orphan(k.Candidate, &t.s.Main)
	t.orphan(k.Beside, &t.s.Fast)
	for _, u := range t.s.Undo {
		t.out = append(t.out, Action{Do: DoTakeBack, Number: u.Number, To: u.To})
	}
}
