// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// Waiting is what a change knows that was put aside for an emergency.
type Waiting struct {
	Aside string `json:"aside,omitempty"` // the emergency of the same bundle that goes first
	Stood *Stood `json:"stood,omitempty"` // what of it stays in force meanwhile; nil: nothing
}

// Stood is what stays in force of a change that baked when an emergency came, and begins again: it is not proved, and
// leaves with its change.
type Stood struct {
	Numbers []uint32 `json:"numbers"`         // generations with it that were stable
	Under   uint32   `json:"under"`           // what was stable before it
	Above   []Change `json:"above,omitempty"` // that came into force on it; they come again when it leaves
}

// has reports whether a generation holds what stays.
func (s *Stood) has(number uint32) bool { return s != nil && slices.Contains(s.Numbers, number) }

// stays notes that a generation that bakes stays in force while its change waits.
func (c Change) stays(number, on uint32, joined []Change) Change {
	s := Stood{Under: on}
	if c.Stood != nil {
		s = *c.Stood
	}
	s.Numbers = with(s.Numbers, number)
	for _, j := range joined {
		s.Above = with(s.Above, j)
	}
	c.Stood = &s
	return c
}

// eachStood replaces what stays of each change that waits or runs.
func (s *State) eachStood(of func(c Change) *Stood) {
	s.Queue = slices.Clone(s.Queue)
	for i := range s.Queue {
		if s.Queue[i].Stood != nil {
			s.Queue[i].Stood = of(s.Queue[i])
		}
	}
	if c := &s.Main.Change; c.Stood != nil {
		c.Stood = of(*c)
	}
}

// resident forgets what stays where the kernel has it no more: after a reboot its number is another's.
func resident(t *turn) {
	k := t.e.Kernel
	if !k.Known || k.Resident == nil {
		return
	}
	t.s.eachStood(func(c Change) *Stood {
		if slices.ContainsFunc(c.Stood.Numbers, func(n uint32) bool { return slices.Contains(k.Resident, n) }) {
			return c.Stood
		}
		return nil
	})
}

// standsOn notes that a generation became stable on one that stays, and holds it, too.
func standsOn(t *turn, r *Run) {
	t.s.eachStood(func(c Change) *Stood {
		if c.ID == r.Change.ID || !c.Stood.has(r.On) || c.Stood.has(r.Number) {
			return c.Stood
		}
		next := *c.Stood
		next.Numbers, next.Above = with(next.Numbers, r.Number), with(next.Above, r.Change)
		return &next
	})
}

// spent ends what waits whose generation stays and used up its budget.
func spent(t *turn) {
	k := t.e.Kernel
	i := slices.IndexFunc(t.s.Queue, func(c Change) bool { return c.Stood.has(k.Tripped) })
	if i < 0 || k.Tripped == 0 {
		return
	}
	r := Run{Change: t.s.Queue[i]}
	t.s.Queue = without(t.s.Queue, func(c Change) bool { return c.ID == r.Change.ID })
	d := t.decide(&r, StageTakenBack, GateBudget,
		"Generation %d used up its budget of blocks outside of its intent while it waited; the kernel lets them pass.",
		k.Tripped)
	d.Condemns = true
	t.end(&r, d)
}

// unstand has leave what stays of a change that is over, with what came into force on it: that comes again on what
// decides then. What is tried on it begins again, too.
func unstand(t *turn, over Change) {
	s := over.Stood
	if s == nil {
		return
	}
	again := without(slices.Clone(s.Above), func(c Change) bool { return c.ID == over.ID })
	for _, r := range []*Run{&t.s.Main, &t.s.Fast} {
		if !r.Stage.runs() || r.Number == 0 || r.Change.ID == over.ID || !s.has(r.On) && !s.has(r.Number) {
			continue
		}
		c, gone := r.Change, r.Number
		c.Attempt++
		t.end(r, t.decide(r, StageNone, GateRebase, "Generation %d, which it was built on, leaves: it begins again.", r.On))
		undo(t, Undo{gone, s.Under})
		again = append(without(again, func(o Change) bool { return o.ID == c.ID }), c)
	}
	for _, n := range s.Numbers {
		undo(t, Undo{n, s.Under})
	}
	t.s.Queue = slices.Concat(again, t.s.Queue)
}

// goes has the generation of a lane leave that ends; with one that is over goes what of it stayed, too.
func goes(t *turn, r *Run, to Stage) {
	notAbove(t, r.Change.ID)
	u := Undo{r.Number, r.On}
	if s := r.Change.Stood; s != nil && to != StageNone {
		u.To = s.Under
	}
	if r.Number != 0 {
		undo(t, u)
	}
}

// undo has a generation leave.
func undo(t *turn, u Undo) {
	t.s.Undo = with(without(t.s.Undo, func(o Undo) bool { return o.Number == u.Number }), u)
}

// notAbove forgets that a change came into force on what stays: it ended by itself.
func notAbove(t *turn, id string) {
	t.s.eachStood(func(c Change) *Stood {
		next := *c.Stood
		next.Above = without(next.Above, func(o Change) bool { return o.ID == id })
		return &next
	})
}
