// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
)

// others are what the features that a SYN may have beside its source's prefixes can say of it.
type others struct {
	ended  uint64 // rules that ended before then count no more
	most   int    // that one rule adds
	least  int    // that all of them together add: what they take away
	allows bool   // a rule of theirs lets pass what it matches
}

// add notes features of which a SYN has one at most, by the heads of their chains. Any of their rules may end.
func (o *others) add(img *Image, heads []uint32) {
	least := 0
	for _, head := range heads {
		away := 0
		for head != 0 {
			node := img.nodes[head]
			head = uint32(node.Next)
			if node.ExpiresNs < o.ended {
				continue
			}
			o.most = max(o.most, int(node.Score))
			away += min(int(node.Score), 0)
			o.allows = o.allows || node.Flags&uint16(bpf.RuleAllow) != 0
		}
		least = min(least, away)
	}
	o.least += least
}

// othersOfSYN sums up the features of an image. Of reasons the dataplane finds one a packet, and the front reads no
// packet that has another than its options.
func othersOfSYN(img *Image, now Clock) others {
	const late = uint64(time.Second) // the kernel's clock is a few milliseconds behind
	o := others{ended: max(now.MonotonicNS, late) - late}
	o.add(img, fingerprints.of(img).values)
	var signatures []uint32
	for _, row := range layouts.of(img).values {
		for _, c := range row.Candidates {
			signatures = append(signatures, c.Head)
		}
	}
	o.add(img, signatures)
	o.add(img, []uint32{uint32(img.generation.Reasons[bpf.ReasonSYNOptions])})
	return o
}

// decideAlone says in each policy what prefixes have to score for the SYN of their source to be dropped, and named for
// them, whatever else the dataplane would find: bpf/front.h drops it for that alone. A threshold that drops or resets
// counts, for a SYN is never reset.
func (img *Image) decideAlone(now Clock) {
	o := othersOfSYN(img, now)
	if o.allows {
		return
	}
	for id := range img.generation.Policies {
		p := &img.generation.Policies[id]
		blocks := slices.DeleteFunc([]uint8{p.Drop, p.Reset}, func(threshold uint8) bool { return threshold == 0 })
		if len(blocks) == 0 {
			continue
		}
		alone := int(slices.MinFunc(blocks, cmp.Compare)) - o.least
		if alone <= math.MaxUint16 {
			p.Alone, p.AloneBy = uint16(alone), uint16(max(o.most, 1))
		}
	}
}
