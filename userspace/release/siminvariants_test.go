// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

func (s *sim) holds() string {
	if s.twice {
		return "who had the dataplane asked for it again"
	}
	c := s.k.control
	for role, slot := range map[string]uint8{"stable": c.Stable, "candidate": c.Candidate, "previous": c.Previous} {
		if slot != bpf.SlotEmpty && s.k.slots[slot] == nil {
			return fmt.Sprintf("the word names slot %d as %s, and it is empty", slot, role)
		}
	}
	if img := s.k.slots[c.Candidate]; img != nil && (s.k.tripped == img.Number() || s.dead == img.Number()) &&
		!s.trouble.kernel {
		return fmt.Sprintf("candidate %d is in its slot, and its lease lapsed", img.Number())
	}
	if s.trouble.disk || s.trouble.kernel || s.unadopted {
		return ""
	}
	if s.observes && c.Mode != bpf.ModeObserve {
		return "it was taken back to observe, and enforces"
	}
	r := s.ledger.Record()
	for _, check := range []func(loader.Control, *state.Record) string{s.agrees, s.stays, s.kept} {
		if fault := check(c, r); fault != "" {
			return fault
		}
	}
	return ""
}

// agrees: word and record say the same.
func (s *sim) agrees(c loader.Control, r *state.Record) string {
	stable, candidate := s.k.slots[c.Stable], s.k.slots[c.Candidate]
	switch {
	case stable != nil && r.Applied == nil:
		return fmt.Sprintf("generation %d decides, and the record has none", stable.Number())
	case stable != nil && (stable.Number() != r.Applied.Number || stable.Digest() != r.Applied.Digest):
		return fmt.Sprintf("generation %d decides, and the record has %d", stable.Number(), r.Applied.Number)
	case candidate != nil && (r.Confirm == nil || r.Confirm.Number != candidate.Number()):
		return fmt.Sprintf("candidate %d is in the word, and not in the record", candidate.Number())
	case candidate == nil && r.Confirm != nil:
		return fmt.Sprintf("candidate %d is in the record, and not in the word", r.Confirm.Number)
	}
	return ""
}

// stays: what was rolled back does not decide, unless a person said so.
func (s *sim) stays(c loader.Control, r *state.Record) string {
	var there []config.Digest
	for _, slot := range []uint8{c.Stable, c.Candidate} {
		if img := s.k.slots[slot]; img != nil {
			there = append(there, s.membersOf(img.Digest())...)
		}
	}
	for d := range s.asked {
		if !slices.Contains(there, d) &&
			!slices.ContainsFunc(s.disk.queue, func(q state.Queued) bool { return q.Digest == d }) {
			delete(s.asked, d)
		}
	}
	for _, d := range there {
		if at, left := s.left[d]; left && !s.asked[d] && !s.proved[d] && s.wall.Sub(at).Abs() < quarantineFor {
			return fmt.Sprintf("bundle %s was rolled back, and is in force again", d.Short())
		}
	}
	clear(s.left)
	for _, q := range r.Quarantine {
		s.left[q.Digest] = q.At
	}
	return ""
}

// endedAsCandidate lets last-known-good come back although a candidate of the same bundle was ended: as stable it has
// proved itself, and nobody went back from it there.
func (s *sim) endedAsCandidate(before loader.Control) {
	img, k := s.k.slots[before.Candidate], s.ledger.Record().LastKnownGood
	if img == nil || k == nil || s.k.control.Candidate != bpf.SlotEmpty {
		return
	}
	for _, d := range s.membersOf(img.Digest()) {
		if slices.Contains(s.membersOf(k.Digest), d) {
			s.proved[d] = true
		}
	}
}

// wentTo notes that a person went to what decides now.
func (s *sim) wentTo() {
	if img := s.k.slots[s.k.control.Stable]; img != nil {
		for _, d := range s.membersOf(img.Digest()) {
			s.asked[d] = true
		}
	}
}

func (s *sim) membersOf(d config.Digest) []config.Digest {
	out := []config.Digest{d}
	if set := s.disk.sets[d]; set != nil {
		for _, b := range set.Bundles {
			out = append(out, b.Digest)
		}
	}
	return out
}

// kept: what the record can bring back is on disk.
func (s *sim) kept(_ loader.Control, r *state.Record) string {
	for _, g := range []*state.Generation{r.Applied, r.LastKnownGood} {
		if g != nil && !s.disk.Has(g.Digest) {
			return fmt.Sprintf("%s is what a reboot brings back, and is not on disk", g.Name())
		}
	}
	return ""
}
