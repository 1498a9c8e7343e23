// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// hear carries a command out, and says in each decision that comes of it whose it was.
func hear(t *turn, c Command, carry func(*turn, Command)) {
	from := len(t.out)
	carry(t, c)
	for _, a := range t.out[from:] {
		if a.Decision != nil {
			a.Decision.By = Person{c.By, c.UID}
		}
	}
}

// command carries out what a person asked for, or says why not.
func (t *turn) command(c Command) {
	if c.Reason == "" && c.Verb != VerbApply && c.Verb != VerbConfirm && c.Verb != VerbBack {
		t.no(c, "%s needs a reason", c.Verb)
		return
	}
	switch c.Verb {
	case VerbApply:
		t.apply(c.Change)
	case VerbBack: // heard already
	case VerbFreeze:
		if t.s.Frozen != "" {
			t.no(c, "it is frozen already: %s", t.s.Frozen)
			return
		}
		t.s.Frozen = c.Reason
		t.note(Change{By: c.By}, StageNone, GateFreeze, "%s freezes: nothing starts by itself: %s.", c.By, c.Reason)
	case VerbThaw:
		thaw(t, c)
	default:
		for _, r := range []*Run{&t.s.Main, &t.s.Fast} {
			if r.Stage.runs() && r.Change.ID == c.ID {
				t.running(r, c)
				return
			}
		}
		t.waiting(c)
	}
}

// thaw ends a freeze, and the quarantine that it names.
func thaw(t *turn, c Command) {
	lifted := func(q Quarantined) bool { return !c.Digest.IsZero() && q.Digest == c.Digest }
	rest, says := without(t.s.Quarantine, lifted), "%s thaws: %s."
	switch frozen := t.s.Frozen != ""; {
	case len(rest) < len(t.s.Quarantine) && frozen:
		says = "%s thaws, and lets the bundle out of quarantine: %s."
	case len(rest) < len(t.s.Quarantine):
		says = "%s lets the bundle out of quarantine: %s."
	case !frozen && len(t.s.Backs) > 0:
		says = "%s lets what was taken back count no more: %s."
	case !frozen:
		t.no(c, "nothing is frozen")
		return
	}
	t.s.Frozen, t.s.Backs, t.s.Quarantine = "", nil, rest
	t.note(Change{By: c.By, Digest: c.Digest}, StageNone, GatePerson, says, c.By, c.Reason)
}

// NothingChanged begins the sentence about a command that had no effect.
const NothingChanged = "Nothing changed: "

func (t *turn) no(c Command, format string, args ...any) {
	t.note(Change{ID: c.ID, By: c.By}, StageNone, GatePerson, NothingChanged+format+".", args...)
}

// apply lets a change wait for its turn, or refuses it at once. No gate looked at it, so nothing is condemned.
func (t *turn) apply(c Change) {
	most := max(c.Expects.NewBlocks, c.Accept)
	switch q, condemned := t.s.condemned(c); {
	case c.ID == "" || c.Name == "":
		t.note(c, StageRefused, GatePerson, "A change has an id and a name.")
		return
	case condemned && c.Thaw == "":
		t.note(c, StageRefused, GateQuarant, "This very bundle is in quarantine: %s A person passes it with a reason.", q.Why)
		return
	case !(most >= 0 && most <= t.s.Guards.MaxNewBlocks):
		t.note(c, StageRefused, GateIntent, "It declares %s of new blocks, and this host allows %s (guards.max_new_blocks).",
			percent(most), percent(t.s.Guards.MaxNewBlocks))
		return
	case c.Kind == KindEmergency && c.Reason == "":
		t.note(c, StageRefused, GatePerson, "An emergency needs a reason.")
		return
	}
	t.s.Quarantine = without(t.s.Quarantine, func(q Quarantined) bool { return q.Name == c.Name && q.Digest == c.Digest })
	if r := &t.s.Main; c.Replace && r.Stage.runs() {
		t.end(r, t.decide(r, StageWithdrawn, GateQueue, "Rollout %s took its place.", c.ID))
	}
	t.queue(c)
}

// wentBack ends what would come by itself after somebody rolled back: what runs and did not decide for everybody, and
// what waits. Nothing of it is condemned; what decided is, by the record. What can only let more pass goes on.
func wentBack(t *turn, c Command) {
	if c.Verb != VerbBack {
		return
	}
	name, why := c.Change.Name, "."
	if c.Reason != "" {
		why = ": " + c.Reason + "."
	}
	about := func(o Change) bool { return o.Kind != KindRelax && (name == "" || name == o.Name) }
	for _, r := range []*Run{&t.s.Main, &t.s.Fast} {
		_, condemned := t.s.condemned(r.Change)
		if r.Stage.runs() && (r.Stage < StageBake || !r.Seen) && about(r.Change) && !condemned {
			t.end(r, t.decide(r, StageWithdrawn, GatePerson, "%s rolled back%s", c.By, why))
		}
	}
	gone := slices.DeleteFunc(slices.Clone(t.s.Queue), func(o Change) bool { return !about(o) })
	t.s.Queue = without(t.s.Queue, about)
	for _, q := range gone {
		t.note(q, StageWithdrawn, GatePerson, "%s rolled back%s", c.By, why)
		unstand(t, q)
	}
}

// running is a command about a rollout that is under way.
func (t *turn) running(r *Run, c Command) {
	switch c.Verb {
	case VerbResume, VerbConfirm:
		goesOn(t, r, c)
	case VerbPause:
		if r.Paused != "" {
			t.no(c, "rollout %s is paused already: %s", c.ID, r.Paused)
			return
		}
		r.Paused = c.Reason
		t.do(DoNote, r, t.decide(r, r.Stage, GatePerson, "%s pauses it: %s.", c.By, c.Reason))
	case VerbAbort:
		t.end(r, t.decide(r, StageWithdrawn, GatePerson, "%s aborts it: %s.", c.By, c.Reason))
	case VerbAccept:
		if !allows(t, c) {
			return
		}
		*r = r.accept(c.Share)
		t.do(DoNote, r, t.decide(r, r.Stage, GatePerson, "%s accepts %s of new blocks: %s.", c.By, percent(c.Share),
			c.Reason))
	case VerbPromote:
		t.promote(r, c)
	}
}

// allows reports whether a person may accept so many new blocks here.
func allows(t *turn, c Command) bool {
	most := t.s.Guards.MaxNewBlocks
	ok := c.Share > 0 && c.Share <= most
	if !ok {
		t.no(c, "%s is not above 0 and at most %s (guards.max_new_blocks)", percent(c.Share), percent(most))
	}
	return ok
}

// goesOn ends a pause, or the wait for a confirmation, where there is one.
func goesOn(t *turn, r *Run, c Command) {
	says, reason := "%s confirms it%s.", ""
	switch {
	case c.Verb == VerbResume && r.Paused == "":
		t.no(c, "rollout %s is not paused", c.ID)
		return
	case c.Verb == VerbConfirm && r.Change.Confirm == 0:
		t.no(c, "rollout %s waits for no confirmation", c.ID)
		return
	case c.Verb == VerbConfirm && r.Confirmed:
		t.no(c, "rollout %s is confirmed already", c.ID)
		return
	case c.Verb == VerbResume:
		r.Paused, says = "", "%s lets it go on%s."
	default:
		r.Confirmed = true
	}
	if c.Reason != "" {
		reason = ": " + c.Reason
	}
	t.do(DoNote, r, t.decide(r, r.Stage, GatePerson, says, c.By, reason))
}

// promote accepts what is inconclusive. It skips no taste, and not the ten seconds in which a protected source would
// show.
func (t *turn) promote(r *Run, c Command) {
	switch {
	case r.Stage == StageTaste, r.stale(t.e.Kernel), !r.Seen, r.Stage == StageShadow && r.Times.Stage < quickShadow:
		t.no(c, "it was not yet tried for %s", span(quickShadow))
	case r.Stage == StageBake:
		t.known(r, GatePerson, "%s makes generation %d last-known-good before its bake is over: %s.", c.By, r.Number,
			c.Reason)
	case t.isFast(r) && t.s.Main.Stage == StageBake:
		t.no(c, "it waits for %s", waitBake)
	case t.s.Fast.Stage == StageBake && r.share(t.s.Guards) == 1000:
		t.no(c, "it waits for %s", waitFast)
	default:
		r.Paused = ""
		t.goOn(r, GatePerson, c.By+": "+c.Reason)
	}
}

// waiting is a command about a change that waits or is held.
func (t *turn) waiting(c Command) {
	for _, q := range t.s.Queue {
		if q.ID == c.ID && c.Verb != VerbAbort {
			t.no(c, "rollout %s waits for its turn, and %s is for one that has begun", c.ID, c.Verb)
			return
		}
		if q.ID == c.ID {
			t.s.Queue = without(t.s.Queue, func(o Change) bool { return o.ID == c.ID })
			t.note(q, StageWithdrawn, GatePerson, "%s withdraws it: %s.", c.By, c.Reason)
			unstand(t, q)
			return
		}
	}
	for _, h := range t.s.Held {
		if h.Change.ID != c.ID {
			continue
		}
		again := h.Change
		again.Attempt++ // another salt
		switch c.Verb {
		case VerbAbort:
			t.s.Held = without(t.s.Held, func(o Held) bool { return o.Change.ID == c.ID })
			t.note(again, StageWithdrawn, GatePerson, "%s withdraws it: %s.", c.By, c.Reason)
			return
		case VerbAccept:
			if !allows(t, c) {
				return
			}
			again.Accept = c.Share
			t.note(again, StageNone, GatePerson, "%s accepts %s of new blocks: %s. It begins again.", c.By, percent(c.Share),
				c.Reason)
			t.apply(again)
			return
		case VerbResume:
			t.note(again, StageNone, GatePerson, "%s lets it begin again: %s.", c.By, c.Reason)
			t.apply(again)
			return
		}
		t.no(c, "rollout %s is held, and %s is for one that runs; resume, accept or abort it", c.ID, c.Verb)
		return
	}
	t.no(c, "rollout %q neither runs nor waits, so %s does nothing", c.ID, c.Verb)
}
