// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// again is the state as an agent reads it back that starts again.
func again(s State) State {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	var out State
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// pure is a step that is made twice: it must change nothing that it was given, give the same twice, and what is
// written of it must be what is read.
func pure(s State, e Evidence, now time.Duration) string {
	before, evidence := text(s), text(e)
	s1, a1 := Step(s, e, now)
	if text(s) != before || text(e) != evidence {
		return "Step changed its arguments"
	}
	s2, a2 := Step(s, e, now)
	if text(s1) != text(s2) || !reflect.DeepEqual(a1, a2) {
		return "the same arguments gave two results"
	}
	if text(again(s1)) != text(s1) {
		return "what was written is not what is read"
	}
	return ""
}

// order holds that no stage is skipped, and that what let it go on was there. It knows the contract, not the engine.
func (h *host) order(d Decision) string {
	if d.Gate == GatePerson || h.k.Observes { // then nothing can block, and nothing is judged
		return ""
	}
	bundle := h.change.Kind == KindBundle
	switch {
	case bundle && d.To == StageCanary && d.From == StageShadow:
		if h.guards.TimeOnlyBelow == 0 && h.seen.pairs < int64(2.99/h.guards.size().delta) {
			return fmt.Sprintf("shadow ended after %d votes", h.seen.pairs)
		}
	case bundle && d.To == StageCanary && d.From != StageCanary:
		return "the canary came after " + d.From.String()
	case bundle && d.To == StageBake && (d.From != StageCanary || d.Step != len(h.guards.Steps)-1):
		return fmt.Sprintf("the bake came after step %d of %s", d.Step, d.From)
	case d.To == StageDone && bundle && h.seen.baked < h.guards.Bake:
		return fmt.Sprintf("last-known-good after %s", h.seen.baked)
	}
	return ""
}

func undone(s State, number uint32) bool {
	return slices.ContainsFunc(s.Undo, func(u Undo) bool { return u.Number == number })
}

// holds is what must hold after each look, whatever went wrong.
func (h *host) holds(before State) string {
	s, k := h.s, h.k
	steps := h.guards.Steps
	step := func(st State) int {
		if st.Main.Stage == StageCanary {
			return st.Main.Step
		}
		return -1
	}
	if now := step(s); now > step(before)+1 && before.Main.Stage != StageBake {
		return fmt.Sprintf("the canary went from step %d to %d", step(before), now)
	}
	ours := s.Main.Stage == StageCanary || s.Main.Stage == StageBake || undone(s, k.Candidate)
	if k.Share > 0 && !ours && h.e.Kernel.Known { // what cannot be read ends with its lease
		return fmt.Sprintf("generation %d decides for %d and nobody takes it back", k.Candidate, k.Share)
	}
	if s.Main.Stage == StageCanary && s.Main.Change.Kind == KindBundle && k.Share > steps[s.Main.Step].Share {
		return fmt.Sprintf("share %d at step %d", k.Share, s.Main.Step)
	}
	ownStable := h.owner[k.Stable] == ownTry || h.crowd.content[k.Stable][h.change.Name] == ownTry
	if _, condemned := s.condemned(h.change); condemned && ownStable && !undone(s, k.Stable) {
		return "what is in quarantine is stable"
	}
	for _, hit := range h.e.Main.Protected {
		if hit.Confirmed && s.Main.Number != 0 && s.Main.Number == h.e.Main.Generation && s.Main.Stage.runs() {
			return "a protected source was hit, and the rollout goes on"
		}
	}
	if fault := h.lost(); fault != "" {
		return fault
	}
	if len(s.Queue) > most || len(s.Undo) > most {
		return "the state grows"
	}
	return ""
}
