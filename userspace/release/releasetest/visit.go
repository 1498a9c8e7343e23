// SPDX-License-Identifier: Apache-2.0

package releasetest

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// Visit is a connection with its first payload, which a socket vouches for.
type Visit struct {
	Source  netip.Addr                  // the zero value is a prefix that nobody has seen before
	Class   loader.Class                // why it is protected
	Verdict func(number uint32) Verdict // of a generation; 0 is the empty one
	Resets  bool                        // if it passes, its client resets it before it is served
}

// Verdict is what a generation makes of a visit, without bans and without what protects it.
type Verdict struct {
	Blocks   bool
	Rule     int // whose block it is
	Declared bool
}

// Visit shows the kernel a visit, and returns whether it is blocked.
func (k *Kernel) Visit(v Visit) (blocked bool) {
	if k.Bypassed || k.Word.Host == bpf.SlotEmpty {
		return false
	}
	prefix, known := prefixOf(v.Source)
	if !known {
		k.nobody++
	}
	slot := k.choose(prefix, known)
	number := k.Number(slot)
	own := v.Verdict(number)
	blocked = own.Blocks && k.Word.Mode == bpf.ModeEnforce && v.Class == loader.ClassNone
	if !k.Word.Pair {
		return blocked
	}
	passes := false
	compared := false
	for i := range k.Lanes {
		if l := &k.Lanes[i]; k.compares(l) {
			passes = k.count(loader.Lane(i), v, prefix, known, number, blocked) || passes
			compared = compared || l.To.New == number
		}
	}
	if blocked && k.Word.Budget && !compared && !own.Declared && k.onTrial(slot) {
		passes = passes || !v.Verdict(k.Number(k.before(slot))).Blocks // nobody can charge it
	}
	blocked = blocked && !passes
	if main := &k.Lanes[loader.LaneMain]; v.Resets && !blocked && k.compares(main) && known {
		if at, in := k.arm(main, prefix, known); in {
			k.bad(main, at, prefix)
		}
	}
	return blocked
}

// onTrial: what decides is the candidate, or bakes under its budget. What a candidate is compared with is on no trial.
func (k *Kernel) onTrial(slot uint8) bool {
	if slot != k.Word.Stable {
		return slot != bpf.SlotEmpty && slot == k.Word.Candidate
	}
	number, isOld := k.Number(slot), false
	for i := range k.Lanes {
		to := k.Lanes[i].To
		if to.New == number {
			return true
		}
		isOld = isOld || to.New != 0 && to.Old == number
	}
	return !isOld
}

// before is the slot that would decide instead.
func (k *Kernel) before(slot uint8) uint8 {
	if slot == k.Word.Stable {
		return k.Word.Previous
	}
	return k.Word.Stable
}

// choose is the slot that decides.
func (k *Kernel) choose(prefix netip.Prefix, known bool) uint8 {
	w := k.Word
	if stable := k.Number(w.Stable); w.Budget && k.Trips.HasSpent(stable) {
		return w.Previous
	}
	if w.Candidate == bpf.SlotEmpty || w.Canary == 0 {
		return w.Stable
	}
	if number, _ := k.Decides(); number != 0 && k.inCanary(w.Candidate, prefix, known) {
		return w.Candidate
	}
	if k.LeaseEnds != 0 && k.LeaseEnds <= *k.Mono {
		k.SetTripped(k.Number(w.Candidate)) // a lease that lapsed ends it for good
	}
	return w.Stable
}

// count counts a visit in a lane, and returns whether it shall pass after all.
func (k *Kernel) count(lane loader.Lane, v Visit, prefix netip.Prefix, known bool, decides uint32, blocked bool) bool {
	l := &k.Lanes[lane]
	l.Counts.Connections++
	l.traffic[0]++
	old, next := v.Verdict(l.To.Old), v.Verdict(l.To.New)
	kind := bothPass
	switch {
	case old.Blocks && next.Blocks:
		kind = bothBlock
	case old.Blocks:
		kind = newPass
	case next.Blocks:
		kind = newBlock
	}
	k.vote(l, v, prefix, known, kind, next)
	if kind == newBlock && v.Class != loader.ClassNone {
		l.Counts.Hits = []loader.Hit{{Class: v.Class, Service: 1, Source: v.Source, Rule: next.Rule, Declared: next.Declared}}
	}
	if lane == loader.LaneMain {
		meant := next.Declared || l.To.Allowed > 0
		k.arms(l, prefix, known, kind == newBlock && meant, kind == newBlock && blocked)
	}
	if kind != newBlock || next.Declared || !blocked || !k.Word.Budget || decides != l.To.New {
		return false
	}
	return k.charge(lane, prefix, known)
}

// vote: a prefix has one, and its strongest pair counts.
func (k *Kernel) vote(l *Lane, v Visit, prefix netip.Prefix, known bool, kind pair, next Verdict) {
	was := l.votes[prefix]
	if known {
		if was >= kind {
			return
		}
		if was == 0 && k.Full {
			l.Counts.Lost++
			return
		}
		if l.votes == nil {
			l.votes = map[netip.Prefix]pair{}
		}
		l.votes[prefix] = kind
	}
	cell := loader.Pair{Service: 1, OldBlocks: kind == bothBlock || kind == newPass,
		NewBlocks: kind == bothBlock || kind == newBlock, Rule: loader.RuleNone}
	if kind == newBlock {
		cell.Rule, cell.Declared, cell.Class = next.Rule, next.Declared, v.Class
		l.blame(uint16(next.Rule))
	}
	l.add(cell, 1)
	if known && was != 0 {
		l.add(loader.Pair{Service: 1, OldBlocks: was == bothBlock || was == newPass,
			NewBlocks: was == bothBlock || was == newBlock, Rule: loader.RuleNone}, -1)
	}
}

func (l *Lane) add(cell loader.Pair, votes int64) {
	for i := range l.Counts.Pairs {
		at := &l.Counts.Pairs[i]
		same := *at
		same.Votes = 0
		if same == cell {
			at.Votes += votes
			return
		}
	}
	cell.Votes = votes
	l.Counts.Pairs = append(l.Counts.Pairs, cell)
}

func (l *Lane) blame(rule uint16) {
	for i := range l.Counts.Blame {
		if at := &l.Counts.Blame[i]; at.Rule == rule {
			at.Votes++
			return
		}
	}
	l.Counts.Blame = append(l.Counts.Blame, loader.RuleVotes{Rule: rule, Votes: 1})
}

// arm is the side of a prefix; false: there is no canary that this lane compares.
func (k *Kernel) arm(l *Lane, prefix netip.Prefix, known bool) (at *loader.Arm, in bool) {
	w := k.Word
	if w.Canary == 0 || w.Canary >= bpf.CanaryAll || k.Number(w.Candidate) != l.To.New {
		return nil, false
	}
	if k.inCanary(w.Candidate, prefix, known) {
		return &l.Counts.Arms.Canary, true
	}
	return &l.Counts.Arms.Control, true
}

// arms counts a prefix once a run as a source, and once as one that fails; one of which something declared is newly
// blocked is neither from then on.
func (k *Kernel) arms(l *Lane, prefix netip.Prefix, known, tainted, cut bool) {
	at, in := k.arm(l, prefix, known)
	if !in {
		return
	}
	if !known {
		if !tainted {
			at.Sources++
		}
		if !tainted && cut {
			at.Bad++
		}
		return
	}
	if l.arms == nil {
		l.arms = map[netip.Prefix]arm{}
	}
	was, there := l.arms[prefix]
	if !there && k.Full {
		l.Counts.Lost++
		return
	}
	now := was
	now.source, now.tainted = was.source || !tainted, was.tainted || tainted
	l.arms[prefix] = now
	if tainted {
		return
	}
	if !was.source && !was.tainted {
		at.Sources++
	}
	if cut {
		k.bad(l, at, prefix)
	}
}

func (k *Kernel) bad(l *Lane, at *loader.Arm, prefix netip.Prefix) {
	if was := l.arms[prefix]; was.source && !was.bad && !was.tainted {
		was.bad = true
		l.arms[prefix] = was
		at.Bad++
	}
}

// charge holds what decides for everybody, or the canary, to its budget: max(20, 0.1 % of the window's connections and
// what was allowed of them) prefixes. It returns whether the block shall pass.
func (k *Kernel) charge(lane loader.Lane, prefix netip.Prefix, known bool) bool {
	l := &k.Lanes[lane]
	if known && l.budget.charged[prefix] {
		return k.Trips.HasSpent(l.To.New)
	}
	if l.budget.n >= max(20, max(l.traffic[0], l.traffic[1])*(1+int64(l.To.Allowed))/1000) {
		if !k.Trips.HasSpent(l.To.New) {
			k.Trips.Spent[lane] = [2]uint32{l.To.New}
		}
		return true
	}
	l.budget.n++
	if known {
		if l.budget.charged == nil {
			l.budget.charged = map[netip.Prefix]bool{}
		}
		l.budget.charged[prefix] = true
	}
	return k.Trips.HasSpent(l.To.New)
}

// prefixOf is the /24 or /48 of a source.
func prefixOf(a netip.Addr) (p netip.Prefix, known bool) {
	if !a.IsValid() {
		return p, false
	}
	length := 24
	if a.Is6() {
		length = 48
	}
	p, _ = a.Prefix(length)
	return p, true
}

// inCanary: SipHash-1-3 (Aumasson, Bernstein 2012) of the prefix under the generation's salt, its upper half modulo a
// thousand, is below the share.
func (k *Kernel) inCanary(slot uint8, prefix netip.Prefix, known bool) bool {
	img := k.Images[slot]
	if img == nil {
		return false
	}
	digest := img.Digest()
	word := k.nobody
	if known && prefix.Addr().Is4() {
		a := prefix.Addr().As4()
		word = uint64(binary.LittleEndian.Uint32(a[:])) // in the order of the network, as the kernel has it
	} else if known {
		a := prefix.Addr().As16()
		word = binary.LittleEndian.Uint64(a[:])
	}
	salt := binary.LittleEndian.Uint64(digest[:])
	return sip13(salt, word)>>32%bpf.CanaryAll < uint64(k.Word.Canary)
}

// sip13 is of one word; both halves of its key are the same, and the length is left out.
func sip13(key, word uint64) uint64 {
	v := [4]uint64{key ^ 0x736f6d6570736575, key ^ 0x646f72616e646f6d, key ^ 0x6c7967656e657261, key ^ 0x7465646279746573}
	round := func() {
		v[0] += v[1]
		v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
		v[0] = bits.RotateLeft64(v[0], 32)
		v[2] += v[3]
		v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
		v[0] += v[3]
		v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
		v[2] += v[1]
		v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
		v[2] = bits.RotateLeft64(v[2], 32)
	}
	v[3] ^= word
	round()
	v[0] ^= word
	v[2] ^= 0xff
	round()
	round()
	round()
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// InCanary reports whether a source is the candidate's at its share.
func (k *Kernel) InCanary(source netip.Addr) bool {
	prefix, known := prefixOf(source)
	return k.inCanary(k.Word.Candidate, prefix, known)
}
