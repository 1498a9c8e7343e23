// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	oneSeed = flag.Uint64("seed", 0, "the one rollout of TestSimulation to run, and tell")
	runs    = flag.Int("rollouts", 0, "how many rollouts TestSimulation makes; 0: 100,000, with -short 10,000")
)

const firstSeed = 20261128

// quick are guards whose lease is a minute, so that one look a minute is enough and 100,000 rollouts are cheap.
func quick() Guards {
	g := Defaults()
	g.Lease = time.Minute
	return g
}

func bundle(share float64, labels ...string) Change {
	return Change{ID: ownTry, Name: "base", Digest: digest(1), By: "sim", Expects: Intent{NewBlocks: share, By: labels}}
}

// kindOfRun is one kind of rollout and how often it must end how.
type kindOfRun struct {
	name  string
	make  func(i uint64) world
	ends  Stage
	least float64 // share of the runs that end so
	abort float64 // share of the runs that may end refused, held or taken back
}

func plain(c Change) world {
	return world{guards: quick(), change: c, rate: 60, tick: time.Minute, failing: 0.02, canaryFail: 0.02, cluster: 8}
}

var chaos = badLuck{action: 0.1, unread: 0.05, pause: 0.0005, restart: 0.02, clock: 0.01, idle: 0.002}

func kindsOfRun() []kindOfRun {
	return []kindOfRun{
		{"A/A", func(uint64) world { return plain(bundle(0)) }, StageDone, 0.99, 0.01},
		{"A/A at the tolerated bound", func(uint64) world {
			w := plain(bundle(0))
			w.canaryFail, w.cluster = w.failing*tolerated, 1
			return w
		}, StageDone, 0.95, 0.01},
		{"declared 5, 20, 40 %", func(i uint64) world {
			share := []float64{0.05, 0.2, 0.4}[i%3]
			w := plain(bundle(share, meant))
			w.declared = share
			return w
		}, StageDone, 0.99, 0.01},
		{"blocks 1 % of visitors extra, in shadow", func(uint64) world {
			w := plain(bundle(0.05, meant))
			w.declared, w.undeclared = 0.05, 0.01
			return w
		}, StageHeld, 0.999, 1},
		{"blocks 1 % of visitors extra, from the canary on", func(uint64) world {
			w := plain(bundle(0.05, meant))
			w.declared, w.later = 0.05, 0.01
			return w
		}, StageTakenBack, 0.999, 1},
		{"blocks everything in the canary", func(uint64) world {
			w := plain(bundle(0))
			w.guards.Steps = []CanaryStep{{50, 10 * time.Minute}, {1000, time.Minute}}
			w.rate, w.canaryFail, w.cluster = 20, 1, 1
			return w
		}, StageTakenBack, 0.999, 1},
		{"another 41 % than declared", func(uint64) world {
			w := plain(bundle(0.02, meant))
			w.declared = 0.41
			return w
		}, StageHeld, 0.999, 1},
		{"bad luck", func(i uint64) world {
			w := plain(bundle(0.05, meant))
			w.declared, w.bad, w.guards.Lease = 0.05, chaos, 5*time.Minute
			if i%2 == 1 {
				w.later = 0.02
			}
			return w
		}, StageNone, 0, 1},
	}
}

// crowds are hosts on which people, feeds and bad luck do what they like for some hours: nothing is said about how it
// ends, only about what must always hold.
func crowds(uint64) world {
	w := plain(bundle(0.05, meant))
	w.declared, w.bad, w.guards.Lease, w.forever = 0.05, chaos, 5*time.Minute, true
	w.guards.Steps = []CanaryStep{{50, 5 * time.Minute}, {250, 5 * time.Minute}, {1000, 5 * time.Minute}}
	w.guards.Shadow, w.guards.Bake = 5*time.Minute, 8*time.Minute
	w.crowd = crowd{asked: 0.15, badChild: 0.05, hits: 0.004}
	return w
}

// outcome counts how the runs of a kind ended.
type outcome struct {
	runs, looks int
	ends        [len(stages)]int
	faults      []string
	hash        uint64
}

// simulate makes n rollouts of all kinds, on all processors. Seed i is the same rollout each time.
func simulate(first uint64, n int) []outcome {
	kinds := kindsOfRun()
	out := make([]outcome, len(kinds))
	var wait sync.WaitGroup
	var lock sync.Mutex
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wait.Go(func() {
			mine := make([]outcome, len(kinds))
			for i := w; i < n; i += workers {
				seed := first + uint64(i)
				h, fault := one(kinds, seed)
				o := &mine[seed%uint64(len(kinds))]
				o.runs, o.looks, o.hash = o.runs+1, o.looks+h.seen.looks, o.hash^h.seen.hash
				o.ends[h.seen.ended]++
				if fault != "" && len(o.faults) < 3 {
					o.faults = append(o.faults, fmt.Sprintf("seed %d: %s", seed, fault))
				}
			}
			lock.Lock()
			defer lock.Unlock()
			for i, o := range mine {
				t := &out[i]
				t.runs, t.looks, t.hash, t.faults = t.runs+o.runs, t.looks+o.looks, t.hash^o.hash, append(t.faults, o.faults...)
				for e := range o.ends {
					t.ends[e] += o.ends[e]
				}
			}
		})
	}
	wait.Wait()
	return out
}

func one(kinds []kindOfRun, seed uint64) (*host, string) {
	if kinds == nil {
		h := newHost(crowds(seed), seed)
		h.seen.verbose = true
		return h, h.run(240)
	}
	h := newHost(kinds[seed%uint64(len(kinds))].make(seed/uint64(len(kinds))), seed)
	h.seen.verbose = *oneSeed != 0
	return h, h.run(3000)
}

func TestSimulation(t *testing.T) {
	kinds := kindsOfRun()
	if *oneSeed != 0 {
		h, fault := one(kinds, *oneSeed)
		t.Logf("%s\n%s\n%s", kinds[*oneSeed%uint64(len(kinds))].name,
			strings.Join(h.seen.said, "\n"), h.s.Main.Status(h.guards))
		if fault != "" {
			t.Fatal(fault)
		}
		return
	}
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	if *runs > 0 {
		n = *runs
	}
	began := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // small states, thrown away at once
	for i, o := range simulate(firstSeed, n) {
		kind := kinds[i]
		slices.Sort(o.faults)
		for _, fault := range o.faults {
			t.Errorf("%s: %s\n  go test ./userspace/rollout -run TestSimulation -v -seed N tells it", kind.name, fault)
		}
		total := float64(o.runs)
		ended := float64(o.ends[kind.ends]) / total
		aborted := float64(o.ends[StageRefused]+o.ends[StageHeld]+o.ends[StageTakenBack]) / total
		if ended < kind.least {
			t.Errorf("%s: %.2f %% ended %s, at least %.2f %% should", kind.name, 100*ended, kind.ends, 100*kind.least)
		}
		if aborted > kind.abort {
			t.Errorf("%s: %.2f %% were aborted, at most %.2f %% may be", kind.name, 100*aborted, 100*kind.abort)
		}
		t.Logf("%s: %d rollouts, %d looks each; done %d, refused %d, taken back %d, held %d, under way %d",
			kind.name, o.runs, o.looks/max(o.runs, 1), o.ends[StageDone], o.ends[StageRefused], o.ends[StageTakenBack],
			o.ends[StageHeld], o.ends[0])
	}
	t.Logf("%d rollouts in %s", n, time.Since(began).Round(time.Millisecond))
}

// The same seeds make the same rollouts.
func TestEverySeedReplays(t *testing.T) {
	for i := range uint64(80) {
		a, _ := one(kindsOfRun(), firstSeed+i)
		b, _ := one(kindsOfRun(), firstSeed+i)
		if a.seen.hash != b.seen.hash || a.seen.looks != b.seen.looks {
			t.Fatalf("seed %d went two ways", firstSeed+i)
		}
	}
}

// People, feeds, emergencies, bad children and bad luck, all at once, on 2,000 hosts for four hours each.
func TestCrowds(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 300
	}
	if *runs > 0 {
		n = *runs
	}
	done, first := 0, uint64(firstSeed)
	if *oneSeed != 0 {
		first, n = *oneSeed, 1
	}
	for i := range n {
		h, fault := one(nil, first+uint64(i))
		done += len(h.crowd.done)
		if fault != "" {
			t.Fatalf("%s\n  go test ./userspace/rollout -run TestCrowds -v -seed %d tells it\n%s", fault, first+uint64(i),
				strings.Join(h.seen.said, "\n"))
		}
	}
	t.Logf("%d hosts, %d names in force", n, done)
	if done < n {
		t.Errorf("only %d names of %d hosts came into force: this proves little", done, n)
	}
}
