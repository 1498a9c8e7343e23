// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// watch is what the site notes of the kernel, apart from the room.
type watch struct {
	baked   map[config.Digest]time.Duration // the longest that a set decided as stable in one piece
	piece   time.Duration
	of      config.Digest
	known   map[config.Digest]bool // what is last-known-good by right
	forgave map[config.Digest]bool // a person gave a reason for the bundle since it was condemned
	gone    []string               // rollouts that ran or waited when a person went back
	judged  bool                   // the service more counts by right: for a bundle that was judged with it
}

func newWatch() watch {
	return watch{baked: map[config.Digest]time.Duration{}, known: map[config.Digest]bool{},
		forgave: map[config.Digest]bool{}}
}

// seen notes a second.
func (w *watch) seen(s *site) {
	img := s.k.Images[s.k.Word.Stable]
	if img == nil || s.k.Word.Mode != bpf.ModeEnforce || s.k.Bypassed {
		w.piece = 0
		return
	}
	if d := config.Digest(img.Digest()); d != w.of {
		was, now := s.disk.Sets[w.of], s.disk.Sets[d]
		if was == nil || now == nil || !config.Relaxes(was, now, s.wall) {
			w.piece = 0 // what lets more pass bakes with what it relaxed
		}
		w.of = d
	}
	w.piece += time.Second
	w.baked[w.of] = max(w.baked[w.of], w.piece)
}

// holds says what does not hold; "" when everything does. calm: nothing fails, and it had time to settle.
func (s *site) holds(calm bool) string {
	c := s.k.Word
	for role, slot := range map[string]uint8{"stable": c.Stable, "candidate": c.Candidate, "previous": c.Previous} {
		if slot != bpf.SlotEmpty && s.k.Images[slot] == nil {
			return fmt.Sprintf("the word names slot %d as %s, and it is empty", slot, role)
		}
	}
	if fault := s.bounded(); fault != "" {
		return fault
	}
	if fault := s.proved(); fault != "" {
		return fault
	}
	if fault := s.hostJudged(); fault != "" {
		return fault
	}
	for _, c := range s.underWay() {
		if slices.Contains(s.gone, c) {
			return "rollout " + c + " goes on after a rollback"
		}
	}
	if !calm {
		return ""
	}
	for _, check := range []func() string{s.agrees, s.condemned} {
		if fault := check(); fault != "" {
			return fault
		}
	}
	return ""
}

// underWay are the rollouts that run before they decide for everybody, or wait, and can newly block.
func (s *site) underWay() (all []string) {
	m := s.st.memory.State
	for _, r := range []rollout.Run{m.Main, m.Fast} {
		if r.Stage.Runs() && r.Stage < rollout.StageBake && r.Change.Kind != rollout.KindRelax {
			all = append(all, r.Change.ID)
		}
	}
	for _, c := range m.Queue {
		if c.Kind != rollout.KindRelax {
			all = append(all, c.ID)
		}
	}
	return all
}

// bounded: a candidate decides for no more than its step, and only while it is a rollout's or is about to leave.
func (s *site) bounded() string {
	number, share := s.k.Decides()
	if share == 0 {
		return ""
	}
	m := s.st.memory.State
	leaves := slices.ContainsFunc(m.Undo, func(u rollout.Undo) bool { return u.Number == number })
	switch {
	case leaves:
		return ""
	case m.Main.Stage == rollout.StageBake && m.Main.Number == number:
		return ""
	case m.Main.Stage != rollout.StageCanary:
		return s.within(fmt.Sprintf("generation %d decides for %d, and no rollout is in its canary", number, share))
	case m.Main.Number != number && m.Main.On == s.k.Number(s.k.Word.Stable):
		return s.within(fmt.Sprintf("generation %d decides for %d, and it is %d's turn", number, share, m.Main.Number))
	}
	most := siteGuards.Steps[m.Main.Step].Share
	if m.Main.Change.Kind == rollout.KindEmergency {
		most = 1000
	}
	if share > most {
		return fmt.Sprintf("generation %d decides for %d at a step of %d", number, share, most)
	}
	return ""
}

// within: while kernel or disk refuse, a candidate may decide until its lease is over.
func (s *site) within(fault string) string {
	if s.trouble.Kernel || s.trouble.Disk {
		return ""
	}
	return fault
}

// proved: last-known-good is what decided in one piece for as long as the host asks, or what lets more pass than that.
func (s *site) proved() string {
	k := s.ledger.Record().LastKnownGood
	if k == nil || s.known[k.Digest] {
		return ""
	}
	next := s.disk.Sets[k.Digest]
	if next != nil && config.Relaxes(config.NewSet(), next, s.wall) {
		return "" // it blocks nobody, so no engine has a part in it
	}
	for d := range s.known {
		if was := s.disk.Sets[d]; was != nil && next != nil && config.Relaxes(was, next, s.wall) {
			s.known[k.Digest] = true // it lets more pass than one that was
			return ""
		}
	}
	if s.baked[k.Digest] >= siteGuards.Bake-time.Second {
		s.known[k.Digest] = true
		return ""
	}
	return fmt.Sprintf("%s (%d, %s) is last-known-good, and decided for %s", k.Name(), k.Number,
		k.Digest.Short(), s.baked[k.Digest])
}

// more is the service that only some host files have.
const more = 2

// hostJudged: where the host file in force has a service more, that counts for what decides only when it was
// last-known-good with it, or bakes with it, or there was nothing before.
func (s *site) hostJudged() string {
	c, r := s.k.Word, s.ledger.Record()
	img, stable := s.k.Hosts[c.Host], s.k.Images[c.Stable]
	if img == nil || c.Host == bpf.SlotEmpty {
		return "" // the same comes back
	}
	if img.Service(more).Tag == 0 {
		// A disk that refuses the host file goes on to name the one before, and a start stands on that.
		s.judged = s.judged && s.hostDisk.Kept != nil && s.hostDisk.Kept.Text != string(s.file.Text)
		return ""
	}
	if k := r.LastKnownGood; k != nil && slices.ContainsFunc(k.Members, func(m state.Member) bool {
		return m.Name == config.HostMember && m.Digest == s.file.Change()
	}) || s.direct || stable == nil {
		s.judged = true
	}
	if s.judged || c.Mode != bpf.ModeEnforce || stable == nil || s.k.Bypassed {
		return ""
	}
	if !img.Fresh(more) || stable.Generation().Host == img.Number() {
		set, m := s.disk.Sets[stable.Digest()], s.st.memory.State
		if config.Relaxes(config.NewSet(), set, s.wall) {
			return "" // it blocks nobody
		}
		bakes := m.Main.Number == stable.Number() || m.Fast.Number == stable.Number() && m.Fast.On == m.Main.Number
		if m.Main.Stage == rollout.StageBake && bakes && !set.Host.IsZero() {
			return "" // that bundle, or another on a set that blocked nobody, or what lets more pass than it
		}
		return fmt.Sprintf("generation %d decides on a service that nobody judged it with", stable.Number())
	}
	return ""
}

// agrees: word and record say the same.
func (s *site) agrees() string {
	stable, r := s.k.Images[s.k.Word.Stable], s.ledger.Record()
	switch {
	case stable != nil && r.Applied == nil:
		return fmt.Sprintf("generation %d decides, and the record has none", stable.Number())
	case stable != nil && (stable.Number() != r.Applied.Number || stable.Digest() != r.Applied.Digest):
		return fmt.Sprintf("generation %d decides, and the record has %d", stable.Number(), r.Applied.Number)
	case stable != nil && !s.disk.Has(stable.Digest()):
		return fmt.Sprintf("generation %d decides, and is not on disk", stable.Number())
	}
	return ""
}

// condemned: nothing that is in quarantine decides, unless a person gave a reason since.
func (s *site) condemned() string {
	there := s.stable()
	if number, share := s.k.Decides(); share > 0 {
		for d := range s.membersOf(number) {
			there[d] = true
		}
	}
	for _, q := range s.ledger.Record().Quarantine {
		if there[q.Digest] && !s.forgave[q.Digest] {
			return fmt.Sprintf("%s %s is in quarantine (%s), and in force", q.Name, q.Digest.Short(), q.Reason)
		}
	}
	return ""
}
