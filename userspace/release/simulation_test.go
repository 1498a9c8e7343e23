// SPDX-License-Identifier: Apache-2.0

package release

import (
	"flag"
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
	"github.com/spillway/spillway/userspace/view"
)

// A history is some operations of people, of time and of bad luck on one host: the manager and the ledger are the real
// ones, kernel and disk are kept in memory. After each operation it must hold that
//
//	the word names filled slots, always;
//	word and record agree, once all is well again and the agent has settled;
//	nothing that was rolled back is in force, unless a person gave a reason;
//	no candidate is in its slot whose lease lapsed;
//	what the record can bring back is on disk;
//	what a person took back to observe observes until a reload;
//	nobody who has the dataplane asks for it again: with a writer between, both would wait for ever.
//
// A failure prints the seed of its history: go test ./userspace/release -run Simulation -seed N.

var seed = flag.Uint64("seed", 0, "the one history of the simulation to run")

const (
	histories       = 10_000
	randomHistories = 100
	fixedSeed       = 20261128
	longestHistory  = 24
)

const simHost = `version: 1
max_mode: %s
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
guards: {bake: 10m, lease: 5s, rollout: direct}
listen: {socket: /run/sim/sock, metrics: ""}
paths: {state: /var/lib/sim, pins: /sys/fs/bpf/sim}
`

// simBundles are three versions of one that has the policy, and two of one beside it.
func simBundles(t testing.TB, h *config.Host) (all []*config.Bundle) {
	t.Helper()
	for i := range 5 {
		name, policy := "base", "policy: {default: {drop: 80}}\n"
		if i > 2 {
			name, policy = "beside", ""
		}
		text := fmt.Sprintf("version: 1\nname: %[1]s\nrules: [{id: %[1]s, label: %[1]s, score: 100}]\n"+
			"features:\n  prefixes: [{list: %[1]s, rule: %[1]s, file: %[1]s.netset}]\n%[2]s", name, policy)
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

// sim is one history.
type sim struct {
	rng     *rand.Rand
	trouble trouble
	k       *simKernel
	disk    *simDisk
	lease   *simLease
	wall    time.Time
	mono    time.Duration
	hosts   [2]*hostfile.File
	file    *hostfile.File
	bundles []*config.Bundle

	ledger    *ledger.Ledger
	mg        *Manager
	unadopted bool
	using     int  // who has the dataplane now
	observes  bool // a person took the host back to observe, until a reload
	twice     bool // it was asked for by who had it

	dead   uint32                      // the candidate whose lease ended while no process lived
	told   []string                    // what happened
	left   map[config.Digest]time.Time // was rolled back, and is on disk as that
	proved map[config.Digest]bool      // is last-known-good, and was ended as a candidate
	// decides or is the candidate because a person said so, whatever was said of it before
	asked map[config.Digest]bool
}

func newSim(plant string, seed uint64, hosts [2]*hostfile.File, bundles []*config.Bundle) *sim {
	s := &sim{rng: rand.New(rand.NewPCG(seed, 10)), wall: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), mono: time.Hour,
		hosts: hosts, file: hosts[0], bundles: bundles,
		left: map[config.Digest]time.Time{}, asked: map[config.Digest]bool{}, proved: map[config.Digest]bool{}}
	s.trouble.chance = func() bool { return s.rng.IntN(4) == 0 }
	s.k = &simKernel{trouble: &s.trouble, plant: plant, mono: &s.mono, next: func() *config.Host { return s.file.Host }}
	s.disk = newSimDisk(&s.trouble)
	s.disk.plant = plant
	s.start()
	return s
}

// start is a new process, up to its first tick.
func (s *sim) start() {
	now := func() time.Time { return s.wall }
	s.lease = &simLease{k: s.k}
	s.ledger = ledger.New(s.disk, ledger.Options{Log: slog.New(slog.DiscardHandler), Now: now, Folder: "/var/lib/sim"})
	s.mg = New(Options{Log: slog.New(slog.DiscardHandler), Ledger: s.ledger, Disk: s.disk, Hosts: noHosts{},
		File:  func() *hostfile.File { return s.file },
		Own:   func() ([]netip.Addr, error) { return nil, nil },
		Clock: func() compile.Clock { return compile.Clock{Wall: s.wall, MonotonicNS: uint64(s.mono)} },
		Around: Around{
			Use:   s.use,
			Lease: func() Lease { return s.lease },
			Judge: func(view.Kernel) view.Verdict {
				return view.Verdict{Interfaces: []api.Interface{{State: loader.StateAttached}}}
			},
			Keep:        func(*compile.Image) {},
			Count:       func(view.Kernel) {},
			EndBypasses: func(Kernel, *compile.HostInfo, *config.Host) {},
			Shift:       func(time.Duration) {},
		}})
	s.unadopted, s.using = false, 0
	s.adopt()
	s.settle()
}

// use is the plane's, for one goroutine.
func (s *sim) use() (Kernel, func(), error) {
	s.using++
	s.twice = s.twice || s.using > 1
	return s.k, func() { s.using-- }, nil
}

// adopt is the agent's, as far as it is about bundles.
func (s *sim) adopt() {
	s.mg.Change().Lock()
	defer s.mg.Change().Unlock()
	refused := s.mg.Adopt(s.k, 0)
	var err error
	if c := s.k.Control(); c.Host == bpf.SlotEmpty || c.Stable == bpf.SlotEmpty {
		err = s.mg.PublishFromDisk(s.k, s.unadopted)
	} else {
		err = s.mg.AdoptHost(s.k)
	}
	s.unadopted = err != nil || refused != nil
}

// settle is some ticks.
func (s *sim) settle() {
	for range 2 {
		if s.unadopted {
			s.adopt()
		}
		s.mg.TrySettle(s.k, func() {}, func() {})
		if s.mg.ExpiriesDue() {
			if _, done, err := s.mg.Begin(); err == nil {
				s.mg.RenewExpiries(s.k)
				done()
			}
		}
		if s.mg.QueueDue() {
			s.mg.RunQueue()
		}
		s.ledger.SaveAgain()
	}
}

// step does one operation and settles; where the process dies, another comes.
func (s *sim) step() {
	sum, pick := 0, 0
	for _, o := range operations {
		sum += o.weight
	}
	n := s.rng.IntN(sum)
	for n >= operations[pick].weight {
		n -= operations[pick].weight
		pick++
	}
	o := operations[pick]
	before := s.k.control
	defer func() { s.endedAsCandidate(before) }()
	s.live(func() {
		s.tell("%s", o.name)
		if err := o.do(s); err != nil {
			s.tell("  %v", err)
		}
		s.settle()
	})
	c := s.k.control
	s.tell("  stable %s, candidate %s, previous %s, mode %d", s.in(c.Stable), s.in(c.Candidate), s.in(c.Previous), c.Mode)
}

func (s *sim) tell(format string, values ...any) {
	s.told = append(s.told, fmt.Sprintf(format, values...))
}

// in names what a slot holds.
func (s *sim) in(slot uint8) string {
	if img := s.k.slots[slot]; img != nil {
		return fmt.Sprintf("%d (%s)", img.Number(), config.Digest(img.Digest()).Short())
	}
	return "none"
}

// live runs a part of a process's life.
func (s *sim) live(f func()) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil:
		case killed:
			s.tell("  the process died")
			s.trouble.killIn = 0
			away := time.Duration(s.rng.IntN(20)) * time.Second
			s.mono, s.wall = s.mono+away, s.wall.Add(away)
			if img := s.k.slots[s.k.control.Candidate]; img != nil && s.k.lease < s.mono-time.Second && !s.trouble.kernel {
				s.dead = img.Number()
			}
			s.start()
		default:
			panic(r)
		}
	}()
	f()
}

// run returns what does not hold; "" when everything did.
func (s *sim) run() string {
	for range 4 + s.rng.IntN(longestHistory-4) {
		s.step()
		if fault := s.holds(); fault != "" {
			return fault
		}
	}
	s.trouble.disk, s.trouble.kernel, s.trouble.killIn = false, false, 0
	s.settle()
	return s.holds()
}

func simHosts(t testing.TB) (hosts [2]*hostfile.File) {
	t.Helper()
	for i, mode := range []string{"enforce", "observe"} {
		var err error
		if hosts[i], err = hostfile.Parse("host", fmt.Appendf(nil, simHost, mode)); err != nil {
			t.Fatal(err)
		}
	}
	return hosts
}

func TestSimulation(t *testing.T) {
	hosts := simHosts(t)
	bundles := simBundles(t, hosts[0].Host)
	one := func(n uint64) {
		s := newSim("", n, hosts, bundles)
		if fault := s.run(); fault != "" {
			t.Fatalf("%s\n  seed %d: go test ./userspace/release -run TestSimulation -seed %d\n  %s", fault, n, n,
				strings.Join(s.told, "\n  "))
		}
	}
	if *seed != 0 {
		one(*seed)
		return
	}
	random := rand.Uint64() >> 16
	t.Logf("%d histories from seed %d, %d from seed %d", histories-randomHistories, fixedSeed, randomHistories, random)
	for n := range uint64(histories - randomHistories) {
		one(fixedSeed + n)
	}
	for n := range uint64(randomHistories) {
		one(random + n)
	}
}

// Each fault, planted into the kernel part or the disk, must be found: what finds none proves nothing.
func TestSimulationFindsPlantedFaults(t *testing.T) {
	hosts := simHosts(t)
	bundles := simBundles(t, hosts[0].Host)
	for _, plant := range []string{"a slot is not filled", "a withdrawal changes nothing",
		"slots are emptied before the word",
		"a dead lease goes on", "the quarantine is not read", "notes are not found", "a write is lost",
		"too much is pruned"} {
		t.Run(plant, func(t *testing.T) {
			found := false
			for n := uint64(0); n < 1500 && !found; n++ {
				s := newSim(plant, fixedSeed+n, hosts, bundles)
				if fault := s.run(); fault != "" {
					t.Logf("history %d: %s", n, fault)
					found = true
				}
			}
			if !found {
				t.Error("1,500 histories did not find it")
			}
		})
	}
}
