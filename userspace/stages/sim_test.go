// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release/releasetest"
	"github.com/spillway/spillway/userspace/rollout"
)

// A history is what people, feeds, time and bad luck do to one host. After each operation it must hold that
//
//	the word names filled slots; a candidate decides for no more than its step, and only while it is a rollout's;
//	last-known-good is what decided for as long as the host asks, in one piece;
//	what a host file newly lets be blocked counts for what decides only where that was judged;
//	once all is well again and the room has settled: word and record agree, and nothing that is in quarantine decides
//	unless a person gave a reason.
//
// SPILLWAY_HISTORIES is how many have a new seed. A failure prints that of its history:
//
//	go test ./userspace/stages -run Simulation -seed N

var seed = flag.Uint64("seed", 0, "the one history of the simulation to run")

const (
	fixedHistories = 270
	fixedSeed      = 20261129
	longestHistory = 40
)

var happenings = []struct {
	weight int
	name   string
	do     func(*site) error
}{
	{16, "apply", func(s *site) error {
		b := s.bundles[s.rng.IntN(len(s.bundles))]
		r := api.RolloutRequest{ConfirmSeconds: []float64{0, 0, 0, 15}[s.rng.IntN(4)]}
		if s.rng.IntN(3) == 0 {
			r.Accept = "meant"
			s.forgave[b.Digest] = true
		}
		s.tell("  %s, accept %q, confirm %v", b.Digest.Short(), r.Accept, r.ConfirmSeconds)
		_, err := s.apply(b, r)
		return err
	}},
	{2, "emergency", func(s *site) error {
		b := s.bundles[s.rng.IntN(len(s.bundles))]
		s.forgave[b.Digest] = true
		s.disk.Sets[b.Digest] = s.setOf(b)
		_, err := NewFront(s.mg, s.st).StartRollout(context.Background(), person,
			api.RolloutRequest{Stored: hexOf(b), Emergency: true, Reason: "an attack", Accept: "an attack"}, nil)
		return err
	}},
	{4, "remove", func(s *site) error {
		_, err := s.ask(api.RolloutRequest{Remove: "beside"})
		return err
	}},
	{8, "command", (*site).command},
	{6, "rollback", func(s *site) error {
		to := []string{"", "", "", api.ToObserve, api.ToEmpty}[s.rng.IntN(5)]
		s.wentTo()
		under := s.underWay()
		_, err := NewFront(s.mg, s.st).Rollback(context.Background(), person,
			api.RollbackRequest{To: to, Reason: "it harms"})
		s.wentTo()
		if err == nil && to != api.ToObserve {
			s.gone = under
		}
		return err
	}},
	{2, "rollback of one", func(s *site) error {
		for _, b := range s.bundles {
			s.forgave[b.Digest] = true // a version of before comes back with the reason of who asks
		}
		_, err := NewFront(s.mg, s.st).Rollback(context.Background(), person,
			api.RollbackRequest{Bundle: []string{"base", "beside"}[s.rng.IntN(2)], Reason: "it harms"})
		return err
	}},
	{8, "reload", func(s *site) error {
		return s.reloadFile(s.hosts[s.rng.IntN(len(s.hosts))])
	}},
	{4, "an edit while no agent runs", func(s *site) error {
		s.file = s.hosts[s.rng.IntN(len(s.hosts))]
		panic(releasetest.Killed{})
	}},
	{3, "visitors change", func(s *site) error {
		of := s.bundles[s.rng.IntN(len(s.bundles))].Digest
		if change := s.mg.HostFiles().Change(); !change.IsZero() && s.rng.IntN(2) == 0 {
			of = change
		}
		s.truth[of] = []truth{{}, {}, {undeclared: 0.1}, {protected: true}}[s.rng.IntN(4)]
		return nil
	}},
	{12, "time", func(s *site) error { s.looks([]int{2, 10, 40}[s.rng.IntN(3)]); return nil }},
	{3, "stop", func(s *site) error {
		d := time.Duration(2+s.rng.IntN(20)) * time.Second
		s.mono, s.wall, s.lease.Asleep = s.mono+d, s.wall.Add(d), s.lease.Asleep+d
		s.piece += min(d, siteGuards.Lease)
		return nil
	}},
	{3, "clock", func(s *site) error {
		s.wall = s.wall.Add(time.Duration(s.rng.IntN(7200)-3600) * time.Second)
		return nil
	}},
	{3, "bypass", func(s *site) error { s.k.Bypassed = !s.k.Bypassed; return nil }},
	{5, "kill", func(s *site) error { panic(releasetest.Killed{}) }},
	{3, "reboot", func(s *site) error { s.k.Reboot(); s.mono = time.Minute; panic(releasetest.Killed{}) }},
	{4, "a bad disk", func(s *site) error { s.trouble.Disk = true; return nil }},
	{4, "a bad kernel", func(s *site) error { s.trouble.Kernel = true; return nil }},
	{8, "all is well", func(s *site) error { s.trouble.Disk, s.trouble.Kernel = false, false; return nil }},
	{8, "a death to come", func(s *site) error { s.trouble.KillIn = 1 + s.rng.IntN(60); return nil }},
}

// command is one of a person, about something that is there.
func (s *site) command() error {
	verbs := []rollout.Verb{rollout.VerbPause, rollout.VerbResume, rollout.VerbAbort, rollout.VerbPromote,
		rollout.VerbAccept, rollout.VerbConfirm, rollout.VerbFreeze, rollout.VerbThaw}
	c := rollout.Command{Verb: verbs[s.rng.IntN(len(verbs))], Share: 0.2, By: "root", Reason: "meant"}
	if all := s.st.memory.changes(); len(all) > 0 {
		c.ID = all[s.rng.IntN(len(all))].ID
	}
	s.tell("  %s %s", c.Verb, c.ID)
	if c.Verb == rollout.VerbResume || c.Verb == rollout.VerbAccept {
		s.gone = slices.DeleteFunc(s.gone, func(id string) bool { return id == c.ID }) // a person wants it
	}
	if img := s.k.Images[s.k.Word.Stable]; img != nil && c.Verb == rollout.VerbPromote {
		s.known[img.Digest()] = true // a person may end a bake
	}
	_, err := s.st.Do(c)
	return err
}

// step does one operation; where the process dies, another comes.
func (s *site) step() (fault string) {
	sum, pick := 0, 0
	for _, o := range happenings {
		sum += o.weight
	}
	n := s.rng.IntN(sum)
	for n >= happenings[pick].weight {
		n -= happenings[pick].weight
		pick++
	}
	o := happenings[pick]
	s.live(func() {
		s.tell("%s", o.name)
		if err := o.do(s); err != nil {
			s.tell("  %v", err)
		}
		s.looks(1 + s.rng.IntN(3))
	})
	c, m := s.k.Word, s.st.memory.State
	s.tell("  stable %d, candidate %d at %d, beside %d, mode %d; main %s %d on %d step %d, fast %s %d", s.k.Number(c.Stable),
		s.k.Number(c.Candidate), c.Canary, s.k.Number(s.k.Stands), c.Mode, m.Main.Stage, m.Main.Number, m.Main.On,
		m.Main.Step, m.Fast.Stage, m.Fast.Number)
	return s.holds(false)
}

// live runs a part of a process's life.
func (s *site) live(f func()) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil:
		case releasetest.Killed:
			s.tell("  the process died")
			if s.trouble.Disk {
				s.gone = nil // the record may have lost it
			}
			s.trouble.KillIn = 0
			away := time.Duration(s.rng.IntN(12)) * time.Second
			s.mono, s.wall, s.away = s.mono+away, s.wall.Add(away), away+s.lease.Asleep
			s.piece += min(away, siteGuards.Lease) // so much of it may count
			s.start()
			s.live(func() { s.looks(2) })
		default:
			panic(r)
		}
	}()
	f()
}

// history returns what does not hold; "" when everything did.
func (s *site) play() string {
	for range 5 + s.rng.IntN(longestHistory-5) {
		if fault := s.step(); fault != "" {
			return fault
		}
	}
	s.trouble.Disk, s.trouble.Kernel, s.trouble.KillIn = false, false, 0
	s.live(func() { s.looks(15) })
	return s.holds(true)
}

func TestSimulation(t *testing.T) {
	one := func(n uint64) {
		s := newSite(t, n)
		if fault := s.play(); fault != "" {
			t.Fatalf("%s\n  seed %d: go test ./userspace/stages -run TestSimulation -seed %d\n  %s\n\n  %s", fault, n, n,
				strings.Join(s.told, "\n  "), s.said())
		}
	}
	if *seed != 0 {
		one(*seed)
		return
	}
	random, more := rand.Uint64()>>16, 30
	if text := os.Getenv("SPILLWAY_HISTORIES"); text != "" {
		var err error
		if more, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SPILLWAY_HISTORIES: %v", err)
		}
	}
	t.Logf("%d histories from seed %d, %d from seed %d", fixedHistories, fixedSeed, more, random)
	for n := range uint64(fixedHistories) {
		one(fixedSeed + n)
	}
	for n := range uint64(more) {
		one(random + n)
	}
}

// wentTo notes that a person went to what decides now.
func (s *site) wentTo() {
	for d := range s.stable() {
		s.forgave[d] = true
	}
}
