// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// crowd is a number of threads that bring connections of the same keys at once, in rounds: between two rounds the clock
// moves.
type crowd struct {
	sets, keys int           // and keys of each set
	burst      uint64        // at most
	skew       time.Duration // by which the clocks of threads differ: those of processors by a tick, at most
	intervals  []time.Duration
	rounds     int
}

const (
	threads = 8
	ways    = 8
	gates   = 1 << 16
)

// round is what each thread brings once.
type round struct {
	now  uint64
	keys []int
	gate int // where they meet before the first
	seed uint64
}

// run lets all threads bring connections, and returns what each saw, and the last moment.
func (c crowd) run(r *rig, rnd *rand.Rand, keys []key, now uint64) (seen []visits, end uint64, err error) {
	seen = make([]visits, threads)
	errs := make([]error, threads)
	starts := make([]chan round, threads)
	var done, gone sync.WaitGroup
	for i := range threads {
		starts[i] = make(chan round, 1)
		gone.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for next := range starts[i] {
				late := rand.New(rand.NewPCG(next.seed, uint64(i))).Uint64N(units(c.skew))
				if errs[i] == nil {
					errs[i] = seen[i].bring(r, keys, next, next.now-late)
				}
				done.Done()
			}
		})
	}
	now += units(tick)
	for i := range c.rounds {
		next := round{now: now, keys: c.come(rnd, keys), gate: 1 + i*asksMax%(gates-2*asksMax), seed: rnd.Uint64()}
		done.Add(threads)
		for _, start := range starts {
			start <- next
		}
		done.Wait()
		now += c.step(rnd, keys)
	}
	for _, start := range starts {
		close(start)
	}
	gone.Wait()
	return seen, now, cmp.Or(errs...)
}

// come are the keys of a round's connections: few of each set, so that others have time to rest; many, where a set has
// too few ways for its keys.
func (c crowd) come(rnd *rand.Rand, keys []key) []int {
	var active []int
	for set := range c.sets {
		for range 1 + rnd.IntN(c.keys)/2 {
			active = append(active, set*c.keys+rnd.IntN(c.keys))
		}
	}
	come := make([]int, asksMax)
	for i := range come {
		if come[i] = active[i%len(active)]; rnd.IntN(4) == 0 {
			come[i] = pick(rnd, active...)
		}
	}
	return come
}

// step is how far the clock moves between two rounds: by less than an interval, by as much as makes those rest that
// came now, to some clocks and not to others, or until all rest.
func (c crowd) step(rnd *rand.Rand, keys []key) uint64 {
	k := pick(rnd, keys...)
	switch rnd.IntN(8) {
	case 0:
		return k.burst * k.interval
	case 1, 2, 3:
		return (1+rnd.Uint64N(k.burst))*k.interval + rnd.Uint64N(units(c.skew)) - rnd.Uint64N(min(units(tick), k.interval))
	case 4:
		return rnd.Uint64N(units(c.skew))
	}
	return rnd.Uint64N(k.interval) >> rnd.IntN(6)
}
