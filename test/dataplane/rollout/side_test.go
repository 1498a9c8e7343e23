// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/release/releasetest"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/view"
)

// kernel is one of the two.
type kernel interface {
	release.Kernel
	releasetest.Leased
	visit(v releasetest.Visit) (blocked bool)
	look()                       // a second has passed: another window
	full()                       // from now on votes find no room
	pass(bypass bool)            // the kill switch
	restart(t testing.TB) kernel // the agent starts again
}

// clock is the test's, of both sides.
type clock struct {
	mono time.Duration
	wall time.Time
}

func (c *clock) pass(d time.Duration) { c.mono, c.wall = c.mono+d, c.wall.Add(d) }

// side is one host: the engine, the rooms, and one of the two kernels.
type side struct {
	t        testing.TB
	name     string
	k        kernel
	clock    *clock
	disk     *releasetest.Disk
	hostDisk *releasetest.Hosts
	lease    *releasetest.Lease
	file     *hostfile.File

	ledger *ledger.Ledger
	mg     *release.Manager
	st     *stages.Stages
	told   int           // lines of the history that were compared
	away   time.Duration // for which no agent lived
}

// guards let a rollout be over in a minute of looks: there are few prefixes, so that time alone promotes.
var guards = rollout.Guards{
	Evidence: rollout.LevelSmall, Shadow: 4 * time.Second, Bake: 6 * time.Second, Lease: 5 * time.Second,
	Steps: []rollout.CanaryStep{{Share: 50, For: 2 * time.Second}, {Share: 500, For: 3 * time.Second},
		{Share: 1000, For: 2 * time.Second}},
	MaxNewBlocks: 0.5, MaxDelta: rollout.MaxDelta{Rows: 0.2, Connections: 0.005},
	StepMax: time.Hour, ShadowMax: 24 * time.Hour,
	TimeOnlyBelow: 1e9, TimeOnly: 5 * time.Second,
}

func (s *side) start() {
	now := func() time.Time { return s.clock.wall }
	log := slog.New(slog.DiscardHandler)
	s.lease = &releasetest.Lease{K: s.k}
	s.ledger = ledger.New(s.disk, ledger.Options{Log: log, Now: now, Folder: "/var/lib/" + s.name})
	s.st = stages.New(stages.Options{Log: log, Ledger: s.ledger, Disk: s.disk,
		Hand:   func() stages.Hand { return s.mg.Hand() },
		Taster: func() stages.Taster { return stages.InProcess{Hand: s.mg.Hand()} },
		Guards: func() (rollout.Guards, bool) { return guards, true },
		Health: func() rollout.Health { return rollout.Health{} },
		Clock:  func() time.Duration { return s.clock.mono },
		Spawn:  func(f func()) { f() }})
	s.mg = release.New(release.Options{Log: log, Ledger: s.ledger, Disk: s.disk, Hosts: s.hostDisk,
		File:  func() *hostfile.File { return s.file },
		Own:   func() ([]netip.Addr, error) { return nil, nil },
		Clock: func() compile.Clock { return compile.Clock{Wall: s.clock.wall, MonotonicNS: uint64(s.clock.mono)} },
		Around: release.Around{
			Use:   func() (release.Kernel, func(), error) { return s.k, func() {}, nil },
			Lease: func() release.Lease { return s.lease },
			Judge: func(view.Kernel) view.Verdict {
				return view.Verdict{Interfaces: []api.Interface{{State: loader.StateAttached}}}
			},
			Keep:        func(*compile.Image) {},
			Count:       func(view.Kernel) {},
			EndBypasses: func(release.Kernel, *compile.HostInfo, *config.Host) {},
			Stage:       s.st.Around(),
			Shift:       func(time.Duration) {},
		}})
	s.mg.Change().Lock()
	defer s.mg.Change().Unlock()
	if err := s.mg.Adopt(s.k, s.away); err != nil {
		s.t.Fatalf("%s: adopt: %v", s.name, err)
	}
	s.away = 0
	var err error
	if c := s.k.Control(); c.Host == bpf.SlotEmpty || c.Stable == bpf.SlotEmpty {
		err = s.mg.PublishFromDisk(s.k, false)
	} else {
		err = s.mg.AdoptHost(s.k)
	}
	if err != nil {
		s.t.Fatalf("%s: publish the host file: %v", s.name, err)
	}
}

// look is what the agent does each second.
func (s *side) look() {
	s.lease.Renew()
	s.mg.TrySettle(s.k, func() {}, func() {})
	s.st.Look()
	s.ledger.SaveAgain()
}

var person = api.Caller{User: "root"}

// ask is a request of a person; what is refused is a result, too.
func (s *side) ask(b *config.Bundle, r api.RolloutRequest) string {
	if b != nil {
		s.disk.Sets[b.Digest] = config.NewSet(b) // it was sent
		r.Stored = hex.EncodeToString(b.Digest[:])
	}
	_, err := stages.NewFront(s.mg, s.st).StartRollout(context.Background(), person, r, nil)
	return said(err)
}

func said(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

func (s *side) back() string {
	_, err := stages.NewFront(s.mg, s.st).Rollback(context.Background(), person, api.RollbackRequest{Reason: "it harms"})
	return said(err)
}
