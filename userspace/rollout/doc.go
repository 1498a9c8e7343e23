// SPDX-License-Identifier: Apache-2.0

// Package rollout decides how a bundle comes into force, and when it goes back. It is a pure engine: Step takes what
// is remembered, what was seen and the clock, and returns what is to be remembered and done. It has no kernel, no
// disk, no goroutine and no clock of its own. The agent calls it through userspace/stages;
// docs/ROLLOUT.md has its states and formulas.
//
//	queued ─▶ taste ─▶ shadow ─▶ canary 1 ▶ 5 ▶ 25 ▶ 100 % ─▶ bake ─▶ done (last-known-good)
//	             │        │            │                        │
//	             ▼        ▼            ▼                        ▼
//	          refused  refused     taken back               taken back        and in quarantine
//	                   held        held: lease, ratio,      held: lease, health nothing condemned; resume tries it again
//	                               health, no evidence
//	fast track, beside it:  relax: taste ─▶ swap ─▶ done     list update: taste ─▶ shadow 10 s ─▶ bake ─▶ done
//	emergency, in front:    taste ─▶ shadow 10 s ─▶ 100 % under lease, at most an hour ─▶ bake, or held
//
// What holds after each step, whatever fails outside; the simulation checks it:
//
//	a candidate decides for no more sources than its step allows, and its lease is renewed only by who still looks;
//	one confirmed hit of a protected source ends a rollout in the step that sees it, before any person is heard;
//	no stage is skipped but by a person with a reason, and none ends without the votes or the time that it asks for;
//	last-known-good is only what decided, with traffic, for guards.bake in one piece;
//	what is in quarantine is in force only until the kernel has taken it back;
//	evidence of another generation counts for nothing, and a rebase loses none.
//
// The path of one rollout, a file each: change (what is asked for), command and queue (people, and whose turn it is),
// taste, harm (gates that end it), progress (gates that let it go on), bake, carry (what the kernel should be and is
// not). guards has the limits and the chances of a false alarm; evidence what the agent must bring; decision what the
// history keeps. The tests of rates are in the package sequential.
package rollout
