// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

var person = api.Caller{User: "root"}

// operations are what happens, with how often of all of them.
var operations = []struct {
	weight int
	name   string
	do     func(*sim) error
}{
	{20, "apply", func(s *sim) error {
		b := s.bundles[s.rng.IntN(len(s.bundles))]
		r := api.RolloutRequest{Stored: hex.EncodeToString(b.Digest[:]), ConfirmSeconds: []float64{0, 0, 300}[s.rng.IntN(3)]}
		if s.rng.IntN(3) == 0 {
			r.Accept = "meant"
			s.asked[b.Digest] = true
		}
		s.disk.sets[b.Digest] = config.NewSet(b) // it was sent
		s.tell("  %s for %v s, accept %q", b.Digest.Short(), r.ConfirmSeconds, r.Accept)
		_, err := s.mg.StartRollout(context.Background(), person, r, nil)
		return err
	}},
	{3, "remove", func(s *sim) error {
		_, err := s.mg.StartRollout(context.Background(), person, api.RolloutRequest{Remove: "beside"}, nil)
		return err
	}},
	{8, "confirm", func(s *sim) error {
		all, err := s.mg.Rollouts(context.Background())
		if w := all.Waiting(); err == nil && w != nil {
			_, err = s.mg.ConfirmRollout(context.Background(), person, w.ID, "")
		}
		return err
	}},
	{3, "end", func(s *sim) error {
		all, err := s.mg.Rollouts(context.Background())
		if err == nil && len(all.Rollouts) > 0 {
			_, err = s.mg.EndRollout(context.Background(), person, all.Rollouts[0].ID, "")
		}
		return err
	}},
	{8, "rollback", func(s *sim) error {
		to := []string{"", "", "", api.ToObserve, api.ToEmpty, fmt.Sprint(1 + s.rng.IntN(6))}[s.rng.IntN(6)]
		before := s.k.control.Stable
		defer func() { // also where the process dies after it
			if s.k.control.Stable != before {
				s.wentTo()
			}
		}()
		_, err := s.mg.Rollback(context.Background(), person, api.RollbackRequest{To: to})
		return err
	}},
	{4, "rollback of one", func(s *sim) error {
		_, err := s.mg.Rollback(context.Background(), person,
			api.RollbackRequest{Bundle: []string{"base", "beside"}[s.rng.IntN(2)]})
		return err
	}},
	{3, "rollback beside it", (*sim).beside},
	{6, "reload", func(s *sim) error {
		next := s.hosts[s.rng.IntN(2)]
		k, done, err := s.mg.Begin()
		if err != nil {
			return err
		}
		defer done()
		before := s.file
		s.file, s.observes = next, false
		if _, err = s.mg.PublishHost(k, next, view.ModeOf(next.Host.MaxMode)); err != nil {
			s.file = before
		}
		return err
	}},
	{10, "time", func(s *sim) error {
		s.pass([]time.Duration{time.Second, time.Minute, 6 * time.Minute, 11 * time.Minute}[s.rng.IntN(4)])
		return nil
	}},
	{3, "stop", func(s *sim) error {
		d := []time.Duration{3 * time.Second, time.Minute}[s.rng.IntN(2)]
		s.mono, s.wall, s.lease.slept = s.mono+d, s.wall.Add(d), s.lease.slept+d
		return nil
	}},
	{3, "clock", func(s *sim) error {
		s.wall = s.wall.Add(time.Duration(s.rng.IntN(7200)-3600) * time.Second)
		return nil
	}},
	{5, "kill", func(s *sim) error { panic(killed{}) }},
	{4, "reboot", func(s *sim) error { s.k.reboot(); s.mono = time.Minute; panic(killed{}) }},
	{4, "a bad disk", func(s *sim) error { s.trouble.disk = true; return nil }},
	{4, "a bad kernel", func(s *sim) error { s.trouble.kernel = true; return nil }},
	{6, "all is well", func(s *sim) error { s.trouble.disk, s.trouble.kernel = false, false; return nil }},
	{8, "a death to come", func(s *sim) error { s.trouble.killIn = 1 + s.rng.IntN(25); return nil }},
}

// beside is a rollback by a command while the agent hangs: the word, and a note.
func (s *sim) beside() error {
	s.mono, s.wall = s.mono+time.Millisecond, s.wall.Add(time.Millisecond) // no two notes are of one moment
	c := s.k.control
	if s.rng.IntN(3) == 0 {
		return s.observe(c)
	}
	if c.Previous == bpf.SlotEmpty || c.Candidate != bpf.SlotEmpty {
		return nil
	}
	left, to := s.k.slots[c.Stable], s.k.slots[c.Previous]
	next, err := c.Publish(loader.Change{Stable: &c.Previous, Back: true, Seen: &c.Epoch})
	if err != nil || left == nil || to == nil {
		return err
	}
	s.k.control = next
	s.wentTo()
	s.disk.notes = append(s.disk.notes, state.Back{Way: state.BackGeneration, At: s.wall, By: "root", Left: left.Digest(),
		To: state.Generation{Digest: to.Digest(), Number: to.Number(), At: s.wall}})
	return nil
}

// observe is rollback --to observe, by such a command.
func (s *sim) observe(c loader.Control) error {
	mode := bpf.ModeObserve
	next, err := c.Publish(loader.Change{Mode: &mode})
	if err != nil || s.file.Host.MaxMode != config.ModeEnforce {
		return err
	}
	s.k.control, s.observes = next, true
	s.disk.notes = append(s.disk.notes, state.Back{Way: state.BackObserve, At: s.wall, By: "root"})
	return nil
}

// pass lets time pass while the process lives: its lease is renewed all the while.
func (s *sim) pass(d time.Duration) {
	s.lease.Renew()
	s.mono, s.wall = s.mono+d, s.wall.Add(d)
	if s.lease.length > 0 {
		s.k.lease = min(s.mono+s.lease.length, s.lease.until)
	}
}
