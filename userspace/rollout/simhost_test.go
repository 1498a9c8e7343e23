// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/spillway/spillway/config"
)

// world is what a rollout meets: the truth about its bundle, the visitors, and the luck of its host. Rates from 0 to
// 1.
type world struct {
	guards     Guards
	change     Change
	rate       float64       // source prefixes a second
	tick       time.Duration // between two looks
	declared   float64       // of the votes: newly blocked by the declared label
	undeclared float64       // and by another
	later      float64       // undeclared, from the canary on: what shadow could not see
	failing    float64       // of the sources: fail by themselves
	canaryFail float64       // of the canary's sources: fail
	cluster    int           // sources that behave alike come together in this number
	skew       float64       // the canary gets this multiple of its share; 0: 1
	bad        badLuck
	crowd      crowd
	strict     bool // each step is made twice
	forever    bool // goes on when the first rollout has ended
}

// badLuck is what goes wrong, each with its chance a look.
type badLuck struct {
	action  float64 // an action fails
	unread  float64 // the kernel cannot be read
	pause   float64 // nobody looks for a minute more than a lease
	restart float64 // the agent starts again from what it wrote
	clock   float64 // the clock begins anew
	idle    float64 // bypass, observe or no interface, for a while
}

// host is a fake host: kernel, child, visitors and clock.
type host struct {
	world
	r        *rand.Rand
	now      time.Duration
	s        State
	e        Evidence
	k        Kernel
	number   uint32
	base     map[uint32]uint32 // what a generation was built on; never ranged over
	owner    map[uint32]string
	lease    time.Duration
	idleTill time.Duration
	seen     seen
}

// seen is what the host noted for the invariants, apart from the engine.
type seen struct {
	pairs   int64         // votes of the main lane, in all
	baked   time.Duration // the main generation was stable and decided, with traffic, in one piece
	canary  int64         // flows of the canary
	ended   Stage
	gate    Gate
	last    Decision
	hash    uint64
	looks   int
	said    []string // when verbose
	verbose bool
}

func newHost(w world, seed uint64) *host {
	h := &host{world: w, r: rand.New(rand.NewPCG(seed, 7)), s: New(w.guards)}
	h.base, h.owner = map[uint32]uint32{}, map[uint32]string{}
	h.number, h.k = 1, Kernel{Known: true, Stable: 1, Deciding: true}
	h.s.Known = Known{Number: 1}
	h.e.Commands = []Command{{Verb: VerbApply, Change: w.change}}
	return h
}

// binomial draws; by the normal approximation where it is good.
func binomial(r *rand.Rand, n int64, p float64) int64 {
	if n <= 0 || p <= 0 {
		return 0
	}
	if p >= 1 {
		return n
	}
	mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if sd > 6 {
		return min(max(int64(math.Round(mean+sd*r.NormFloat64())), 0), n)
	}
	if n > 256 { // Poisson by its gaps, cut at n
		if mean > 40 {
			return n - binomial(r, n, 1-p)
		}
		k, limit, at := int64(0), math.Exp(-mean), r.Float64()
		for ; at > limit && k < n; k++ {
			at *= r.Float64()
		}
		return k
	}
	k := int64(0)
	for range n {
		if r.Float64() < p {
			k++
		}
	}
	return k
}

// alike draws how many of n sources have a trait that comes in clusters.
func (h *host) alike(n int64, p float64) int64 {
	if h.cluster <= 1 {
		return binomial(h.r, n, p)
	}
	size := int64(h.cluster)
	return binomial(h.r, n/size, p)*size + binomial(h.r, n%size, p)
}

const (
	meant  = "scanner"
	wrong  = "mistake"
	ownTry = "r1"
)

// visitors come for dt.
func (h *host) visitors(dt time.Duration) {
	n := int64(h.rate*dt.Seconds() + h.r.Float64())
	main := h.s.Main
	h.count(&h.e.Main, main, n)
	h.count(&h.e.Fast, h.s.Fast, n)
	if main.Number == 0 {
		return
	}
	if main.Number == h.k.Candidate || main.Number == h.k.Stable {
		h.seen.pairs += n
	}
	if h.k.Deciding && main.Number == h.k.Stable && n > 0 {
		h.seen.baked += dt
	}
	if h.k.Candidate != main.Number || h.k.Share == 0 || h.k.Share >= 1000 || !h.k.Deciding {
		return
	}
	a := &h.e.Arms
	if a.ID != main.Change.ID || a.Attempt != main.Change.Attempt {
		*a = Arms{ID: main.Change.ID, Attempt: main.Change.Attempt}
	}
	clean := n - h.alike(n, h.declared)
	rho := float64(h.k.Share) / 1000 * max(h.skew, 0)
	if h.skew == 0 {
		rho = float64(h.k.Share) / 1000
	}
	canary := binomial(h.r, clean, rho)
	h.seen.canary += canary
	a.Canary.Sources += canary
	a.Control.Sources += clean - canary
	if h.canaryFail == h.failing { // nothing is different: who fails is drawn first, then in which arm it is
		failed := h.alike(clean, h.failing)
		in := min(binomial(h.r, failed, rho), canary)
		a.Canary.Bad += in
		a.Control.Bad += failed - in
		return
	}
	a.Canary.Bad += binomial(h.r, canary, h.canaryFail)
	a.Control.Bad += binomial(h.r, clean-canary, h.failing)
}

// count adds n votes to those of a lane.
func (h *host) count(v *Votes, run Run, n int64) {
	if run.Number == 0 {
		return
	}
	if v.Generation != run.Number {
		*v = Votes{Generation: run.Number, NewBlocks: []Blame{
			{Rule: 3, Label: meant, What: "ja4 t13d0000_scanner"}, {Rule: 12, Label: wrong, What: "ja4 t13d1516h2_browser"}}}
	}
	if run.Number != h.k.Candidate && run.Number != h.k.Stable && run.Number != h.k.Beside {
		return
	}
	v.Connections += 3 * n
	v.Pairs += n
	if v == &h.e.Fast && h.crowd.asked > 0 {
		return // lists that change nothing
	}
	rate := h.undeclared
	if run.Stage >= StageCanary {
		rate += h.later
	}
	bad := h.alike(n, rate)
	blocks := []Blame{v.NewBlocks[0], v.NewBlocks[1]} // what was handed out stays as it was
	blocks[0].Votes += h.alike(n-bad, h.declared)
	blocks[1].Votes += bad
	v.NewBlocks = blocks
	if run.Stage == StageBake && float64(bad) > max(20, 0.003*float64(n)) {
		h.k.Tripped = run.Number
	}
}

// lapse lets the kernel go back when the lease is over.
func (h *host) lapse() {
	if h.k.Share > 0 && h.now > h.lease {
		h.k.Lapsed, h.k.Candidate, h.k.Share = h.k.Candidate, 0, 0
	}
}

// look is one tick: visitors, luck, one step, its actions.
func (h *host) look() (fault string) {
	dt := h.tick
	if h.chance(h.bad.pause) {
		dt += h.guards.Lease + time.Minute
	}
	h.now += dt
	h.lapse()
	h.visitors(dt)
	if h.chance(h.bad.idle) {
		h.idleTill = h.now + 3*h.tick
	}
	h.k.Deciding = h.now >= h.idleTill
	h.e.Kernel = h.k
	h.e.Kernel.Known = !h.chance(h.bad.unread)
	if !h.e.Kernel.Known {
		h.e.Kernel = Kernel{}
	} else if !h.k.Deciding {
		h.seen.baked = 0
	}
	if h.chance(h.bad.restart) {
		h.s = again(h.s)
	}
	if h.chance(h.bad.clock) {
		h.lease -= h.now
		h.now, h.idleTill = 0, 0
	}
	if h.chance(h.crowd.asked) {
		h.e.Commands = append(h.e.Commands, h.asks())
	}
	h.hit()
	if h.strict {
		if fault = pure(h.s, h.e, h.now); fault != "" {
			return fault
		}
	}
	before := h.s
	next, actions := Step(h.s, h.e, h.now)
	h.s = next
	h.e.Commands, h.e.Taste = nil, nil
	h.seen.looks++
	for _, a := range actions {
		if fault = h.do(a); fault != "" {
			return fault
		}
	}
	return h.holds(before)
}

func (h *host) chance(p float64) bool { return p > 0 && h.r.Float64() < p }

// do carries out one action, unless it fails.
func (h *host) do(a Action) (fault string) {
	h.mix(uint64(a.Do), uint64(a.Number), uint64(a.Share))
	if a.Decision != nil {
		fault = h.decided(*a.Decision)
	}
	if a.Do == DoNote || h.chance(h.bad.action) {
		return fault
	}
	k := &h.k
	switch a.Do {
	case DoTaste:
		h.number++
		h.base[h.number], h.owner[h.number] = k.Stable, a.ID
		taste := Taste{ID: a.ID, Number: h.number, Base: k.Stable}
		if h.chance(h.crowd.badChild) {
			taste.Outcome = TasteEnd(1 + h.r.IntN(5))
		}
		h.crowd.built(h.number, k.Stable, h.nameOf(a.ID), a.ID)
		h.e.Taste = append(h.e.Taste, taste)
	case DoPublish:
		k.Candidate, k.Share = a.Number, a.Share
		h.lease = h.now + h.guards.Lease
	case DoBeside:
		k.Beside = a.Number
	case DoShare:
		if k.Candidate == a.Number {
			k.Share, h.lease = a.Share, h.now+h.guards.Lease
		}
	case DoLease:
		if k.Candidate == a.Number {
			h.lease = h.now + h.guards.Lease
		}
	case DoPromote:
		if h.base[a.Number] == k.Stable {
			k.Stable = a.Number
			if k.Candidate == a.Number {
				k.Candidate, k.Share = 0, 0
			}
			if k.Beside == a.Number {
				k.Beside = 0
			}
		}
	case DoTakeBack:
		switch a.Number {
		case k.Candidate:
			k.Candidate, k.Share = 0, 0
		case k.Beside:
			k.Beside = 0
		case k.Stable:
			k.Stable = a.To
		}
	}
	return fault
}

// decided notes a decision, and says what is wrong with it.
func (h *host) decided(d Decision) string {
	f := fnv.New64a()
	_, _ = f.Write([]byte(d.Sentence))
	h.mix(f.Sum64())
	if h.seen.verbose {
		h.seen.said = append(h.seen.said, d.At.String()+" "+d.From.String()+" → "+d.To.String()+": "+d.Sentence)
	}
	if d.To > StageDone && h.crowd.done[d.Name] == d.ID {
		delete(h.crowd.done, d.Name) // it was done, went back with what it relaxed, came again and failed
	}
	if d.To == StageDone || d.From == StageBake && d.Gate == GateQueue && d.To == StageNone {
		if h.crowd.done == nil {
			h.crowd.done = map[string]string{}
		}
		h.crowd.done[d.Name] = d.ID
	}
	if d.ID != ownTry || d.To == StageNone {
		return ""
	}
	h.seen.last = d
	if d.To >= StageDone {
		h.seen.ended, h.seen.gate = d.To, d.Gate
	}
	return h.order(d)
}

// hit lets a protected source show up.
func (h *host) hit() {
	if h.crowd.hits == 0 {
		return
	}
	for _, v := range []*Votes{&h.e.Main, &h.e.Fast} {
		v.Protected = nil
		if h.chance(h.crowd.hits) {
			v.Protected = []Hit{{Class: ClassVouched, Who: "192.0.2.0/24", Confirmed: h.chance(0.5)}}
		}
	}
}

func (h *host) nameOf(id string) string {
	if id == h.s.Fast.Change.ID {
		return h.s.Fast.Change.Name
	}
	return h.s.Main.Change.Name
}

func (h *host) mix(values ...uint64) {
	for _, v := range values {
		h.seen.hash = (h.seen.hash ^ v) * 1099511628211
	}
}

func (h *host) name() string { return "rollout of " + h.change.Name + " at " + h.now.String() }

// run looks until the rollout has ended or most looks were made.
func (h *host) run(most int) (fault string) {
	for range most {
		if fault = h.look(); fault != "" {
			return h.name() + ": " + fault
		}
		if h.seen.ended != 0 && !h.forever {
			return ""
		}
	}
	return ""
}

func digest(n int) (d config.Digest) {
	copy(d[:], strconv.Itoa(n))
	return d
}
