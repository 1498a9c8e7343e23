// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
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
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

const siteHost = `version: 1
max_mode: %s
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}%s]
guards: {bake: 20s, lease: 5s, rollout: staged}
listen: {socket: /run/site/sock, metrics: ""}
paths: {state: /var/lib/site, pins: /sys/fs/bpf/site}
`

// siteBundles are three versions of one that has the policy, and two of one beside it. Nobody is the last: it blocks
// less than the others.
func siteBundles(t testing.TB, h *config.Host) (all []*config.Bundle) {
	t.Helper()
	for i := range 5 {
		name, policy := "base", "policy: {default: {drop: 80}}\n"
		if i > 2 {
			name, policy = "beside", ""
		}
		text := fmt.Sprintf("version: 1\nname: %[1]s\nrules: [{id: %[1]s, label: %[1]s, score: 100}]\n"+
			"features:\n  prefixes: [{list: %[1]s, rule: %[1]s, file: %[1]s.netset}]\n"+
			"intent: {expects: {new_blocks: 10%%, by: [%[1]s]}}\n%[2]s", name, policy)
		files := api.Files{config.BundleFile: []byte(text),
			name + ".netset": fmt.Appendf(nil, "198.51.100.%d/32\n2001:db8::%d/128\n", i, i)}
		b, err := config.ParseBundle(config.BundleFile, files[config.BundleFile], files, h,
			config.BundleOptions{Now: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// truth is what a bundle does to the visitors.
type truth struct {
	undeclared float64 // of the votes
	protected  bool
}

// site is one host: room, releases and ledger are the real ones, kernel and disk are kept in memory.
type site struct {
	rng      *rand.Rand
	trouble  releasetest.Trouble
	k        *releasetest.Kernel
	disk     *releasetest.Disk
	hostDisk *releasetest.Hosts
	lease    *releasetest.Lease
	wall     time.Time
	mono     time.Duration
	hosts    [8]*hostfile.File
	file     *hostfile.File
	bundles  []*config.Bundle
	truth    map[config.Digest]truth
	watch

	ledger *ledger.Ledger
	mg     *release.Manager
	st     *Stages
	told   []string
	away   time.Duration // for which no agent lived
	direct bool          // no change goes in stages
	// what a start could not do yet: it is tried again
	unadopted bool
}

var siteGuards = rollout.Guards{
	Evidence: rollout.LevelSmall, Shadow: 10 * time.Second, Bake: 20 * time.Second, Lease: 5 * time.Second,
	Steps: []rollout.CanaryStep{{Share: 50, For: 5 * time.Second}, {Share: 500, For: 5 * time.Second},
		{Share: 1000, For: 5 * time.Second}},
	MaxNewBlocks: 0.5, MaxDelta: rollout.MaxDelta{Rows: 0.02, Connections: 0.005},
	StepMax: time.Hour, ShadowMax: 24 * time.Hour,
	TimeOnly: time.Hour,
}

func newSite(t testing.TB, seed uint64) *site {
	t.Helper()
	s := &site{rng: rand.New(rand.NewPCG(seed, 11)), wall: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), mono: time.Hour,
		truth: map[config.Digest]truth{}}
	s.hosts = siteHosts(t)
	s.file = s.hosts[0]
	s.bundles = siteBundles(t, s.file.Host)
	s.watch = newWatch()
	s.trouble.Chance = func() bool { return s.rng.IntN(4) == 0 }
	s.k = &releasetest.Kernel{Trouble: &s.trouble, Mono: &s.mono}
	s.disk, s.hostDisk = releasetest.NewDisk(&s.trouble), &releasetest.Hosts{Trouble: &s.trouble}
	s.start()
	return s
}

// siteHosts enforce, or observe, have a service more, or not, and say something to people, or not.
func siteHosts(t testing.TB) (hosts [8]*hostfile.File) {
	t.Helper()
	for i := range hosts {
		var err error
		mode, more := []string{"enforce", "observe"}[i%2], []string{"", ", {name: more, port: 80, kind: http}"}[i/2%2]
		text := fmt.Appendf(nil, siteHost, mode, more)
		if i >= 4 {
			text = append(text, "# somebody was here\n"...)
		}
		if hosts[i], err = hostfile.Parse("host", text); err != nil {
			t.Fatal(err)
		}
	}
	return hosts
}

// start is a new process, up to its first look.
func (s *site) start() {
	now := func() time.Time { return s.wall }
	s.lease = &releasetest.Lease{K: s.k}
	s.ledger = ledger.New(s.disk, ledger.Options{Log: slog.New(slog.DiscardHandler), Now: now, Folder: "/var/lib/site"})
	s.st = New(Options{Log: slog.New(slog.DiscardHandler), Ledger: s.ledger, Disk: s.disk,
		Hand:   func() Hand { return s.mg.Hand() },
		Taster: func() Taster { return InProcess{s.mg.Hand()} },
		Guards: func() (rollout.Guards, bool) { return siteGuards, !s.direct },
		Health: func() rollout.Health { return rollout.Health{} },
		Clock:  func() time.Duration { return s.mono },
		Spawn:  func(f func()) { f() }})
	s.mg = release.New(release.Options{Log: slog.New(slog.DiscardHandler), Ledger: s.ledger, Disk: s.disk,
		Hosts: s.hostDisk,
		File:  func() *hostfile.File { return s.file },
		Own:   func() ([]netip.Addr, error) { return nil, nil },
		Clock: func() compile.Clock { return compile.Clock{Wall: s.wall, MonotonicNS: uint64(s.mono)} },
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
	s.adopt()
}

// adopt is the agent's, as far as it is about bundles and the host file.
func (s *site) adopt() {
	s.mg.Change().Lock()
	defer s.mg.Change().Unlock()
	_ = s.mg.Adopt(s.k, s.away)
	s.away = 0
	c := s.k.Control()
	next := *s.file
	next.Unpublished = true
	err := s.mg.HostFiles().StandAtStart(&next, c.Host == bpf.SlotEmpty)
	if err != nil {
		next.Since = &compile.Since{Host: &config.Host{}, Change: config.Digest{1}}
	}
	s.noneBefore()
	s.file = &next
	switch {
	case err != nil:
	case c.Host == bpf.SlotEmpty || c.Stable == bpf.SlotEmpty:
		err = s.mg.PublishFromDisk(s.k, false)
	default:
		err = s.mg.AdoptHost(s.k)
	}
	if s.unadopted = err != nil && !errors.Is(err, release.ErrNoKnownGood); s.unadopted {
		return
	}
	published := next
	published.Unpublished = false
	s.file = &published
	s.keepHost()
}

// look is one second: visitors come, the heartbeat beats, the agent ticks and looks.
func (s *site) look() {
	s.mono, s.wall = s.mono+time.Second, s.wall.Add(time.Second)
	s.lease.Renew()
	s.visitors(100)
	s.seen(s)
	if s.k.Word.Host == bpf.SlotEmpty || s.unadopted {
		s.adopt()
	}
	s.mg.TrySettle(s.k, func() {}, func() {})
	s.takeUp()
	s.st.Look()
	s.ledger.SaveAgain()
	if s.hostDisk.Kept != nil && !s.file.Unpublished {
		s.keepHost()
	}
}

// takeUp are the agent's jobs about host files.
func (s *site) takeUp() {
	if s.mg.HostFiles().Accepted() {
		if k, done, err := s.mg.Begin(); err == nil {
			if next, err := s.mg.HostFiles().Accept(k); err == nil && next != nil {
				s.judged = true // with what is last-known-good
				s.file = next
				s.keepHost()
			}
			done()
		}
	}
	if f := NewFront(s.mg, s.st); f.Waits() {
		f.TakeUp()
	}
}

// keepHost keeps the host file in force, as the agent does.
func (s *site) keepHost() {
	if !s.trouble.Disk {
		s.hostDisk.Kept = &state.Host{Path: "host", Text: string(s.file.Text)}
	}
}

// reload is the agent's.
func (s *site) reloadFile(next *hostfile.File) error {
	file, err := s.takeFile(next)
	if err != nil {
		return err
	}
	f := HostOf(NewFront(s.mg, s.st))
	f.End(person)
	if file.Since != nil {
		s.tell("  the host file's change %s", file.Change().Short())
		_, err = f.Start(person, "", "")
	}
	return err
}

// noneBefore notes that nothing stands on the host file before: all of the next one counts.
func (s *site) noneBefore() {
	if r := s.ledger.Record(); r.Applied == nil && r.LastKnownGood == nil {
		s.judged = true
	}
}

func (s *site) takeFile(next *hostfile.File) (*hostfile.File, error) {
	k, done, err := s.mg.Begin()
	if err != nil {
		return nil, err
	}
	defer done()
	s.noneBefore()
	before, file := s.file, *next
	mode := view.ModeOf(file.Host.MaxMode)
	if err := s.mg.HostFiles().Stand(before, &file, mode); err != nil {
		return nil, err
	}
	s.file = next // on disk: whoever starts now reads it
	if _, err := s.mg.PublishHost(k, &file, mode); err != nil {
		s.file = before
		return nil, err
	}
	s.file = &file
	s.keepHost()
	return &file, nil
}

func (s *site) looks(n int) {
	for range n {
		s.look()
	}
}

// visitors are n source prefixes that nobody has seen before.
func (s *site) visitors(n int64) {
	var main truth
	if l := &s.k.Lanes[loader.LaneMain]; l.On {
		main = s.truthOf(l.To.New, l.To.Old)
	}
	if s.mono/time.Second%10 == 0 {
		s.k.Window()
	}
	harms := map[uint32]bool{}
	for _, img := range s.k.Images {
		if img != nil {
			harms[img.Number()] = s.harms(img.Number())
		}
	}
	bad := int64(main.undeclared * float64(n))
	for i := range n {
		s.k.Visit(releasetest.Visit{Verdict: func(number uint32) (v releasetest.Verdict) {
			v.Blocks = i < bad && harms[number]
			return v
		}})
	}
	for i := range s.k.Lanes {
		l := &s.k.Lanes[i]
		if l.On && s.k.Word.Pair && s.truthOf(l.To.New, l.To.Old).protected {
			s.k.Visit(releasetest.Visit{Source: netip.MustParseAddr("192.0.2.7"), Class: loader.ClassVouched,
				Verdict: func(number uint32) releasetest.Verdict { return releasetest.Verdict{Blocks: number == l.To.New} }})
		}
	}
}

// harms reports whether a generation has a bundle that blocks visitors.
func (s *site) harms(number uint32) bool {
	for d := range s.membersOf(number) {
		if s.truth[d].undeclared > 0 {
			return true
		}
	}
	return false
}

// truthOf is what a generation newly does.
func (s *site) truthOf(next, old uint32) (t truth) {
	before := s.membersOf(old)
	for d := range s.membersOf(next) {
		if !before[d] {
			t.undeclared = max(t.undeclared, s.truth[d].undeclared)
			t.protected = t.protected || s.truth[d].protected
		}
	}
	return t
}

// membersOf are the bundles of a generation.
func (s *site) membersOf(number uint32) map[config.Digest]bool {
	out := map[config.Digest]bool{}
	for _, img := range s.k.Images {
		if img == nil || img.Number() != number {
			continue
		}
		out[img.Digest()] = true
		if set := s.disk.Sets[img.Digest()]; set != nil {
			for _, m := range set.Members() {
				out[m.Digest] = true
			}
		}
	}
	return out
}

var person = api.Caller{User: "root"}

// apply asks for a bundle, as the API does.
func (s *site) apply(b *config.Bundle, r api.RolloutRequest) (id string, err error) {
	s.disk.Sets[b.Digest] = config.NewSet(b) // it was sent
	r.Stored = hex.EncodeToString(b.Digest[:])
	return s.ask(r)
}

func (s *site) ask(r api.RolloutRequest) (id string, err error) {
	w, err := s.mg.Order(context.Background(), person, r, nil)
	if err != nil || w.Same != nil {
		return "", err
	}
	_, err = s.st.Ask(w.Order, w.Change)
	return w.Order.ID, err
}

// stable is the generation that decides, by the bundles that it has.
func (s *site) stable() map[config.Digest]bool { return s.membersOf(s.k.Number(s.k.Word.Stable)) }

func (s *site) tell(format string, values ...any) {
	s.told = append(s.told, fmt.Sprintf(format, values...))
}

func hexOf(b *config.Bundle) string { return hex.EncodeToString(b.Digest[:]) }

func (s *site) setOf(b *config.Bundle) *config.Set { return config.NewSet(b) }

func (s *site) said() string {
	var out []string
	for _, e := range s.disk.Entries {
		out = append(out, e.Verb+" "+e.Outcome+": "+e.Reason+" "+strings.Join(e.Detail, "; "))
	}
	return strings.Join(out, "\n  ")
}
