// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// countTries is how often the votes are read again because one moved meanwhile.
const countTries = 16

// Counts returns what a lane has counted of the generation that it compares, or compared last before Stop; zero where
// it never compared anything. It can be read again and again, also by an agent that started in the middle.
func (c *Comparisons) Counts(lane Lane) (LaneCounts, error) {
	if lane >= bpf.Lanes {
		return LaneCounts{}, fmt.Errorf("read lane %d: there is none", lane)
	}
	to, _ := c.lane(lane).comparison()
	n := LaneCounts{New: to.New}
	var each []bpf.LaneCount
	if err := c.maps[bpf.DataplaneMapLaneCounts].Lookup(uint32(lane), &each); err != nil {
		return n, kernel.Explain("read the counts of lane "+lane.String(), err)
	}
	for _, count := range each {
		n.Connections += count.Connections
		n.Unconfirmed += count.Unconfirmed
		n.Lost += count.Lost
	}
	err := c.readVotes(lane, &n)
	if err != nil {
		return n, kernel.Explain("read the votes of lane "+lane.String(), err)
	}
	return n, nil
}

// readVotes reads pairs, blame and trial. While a vote moves its cells disagree for a moment: then they are read again.
func (c *Comparisons) readVotes(lane Lane, n *LaneCounts) error {
	for range countTries {
		var before, after bpf.Trial
		if err := c.maps[bpf.DataplaneMapTrials].Lookup(uint32(lane), &before); err != nil {
			return err
		}
		if err := c.readCells(lane, n); err != nil {
			return err
		}
		if err := c.maps[bpf.DataplaneMapTrials].Lookup(uint32(lane), &after); err != nil {
			return err
		}
		n.takeTrial(&after)
		isWhole := after.Hit.Begun == after.Hit.Done
		if isWhole && before.Moved == after.Moving {
			return nil
		}
	}
	return fmt.Errorf("votes moved while they were read, %d times", countTries)
}

func (c *Comparisons) readCells(lane Lane, n *LaneCounts) error {
	n.Pairs, n.Blame = nil, nil
	err := kernel.EachRow(c.maps[bpf.DataplaneMapPairs], func(k bpf.PairKey, votes int64) {
		if k.Lane == uint8(lane) && k.Generation == n.New {
			n.Pairs = append(n.Pairs, pairOf(k, votes))
		}
	})
	if err != nil {
		return err
	}
	err = kernel.EachRow(c.maps[bpf.DataplaneMapBlame], func(k bpf.BlameKey, votes int64) {
		if k.Lane == uint8(lane) && k.Generation == n.New {
			n.Blame = append(n.Blame, RuleVotes{Rule: k.Rule, Votes: votes})
		}
	})
	slices.SortFunc(n.Pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(a.Rule, b.Rule))
	})
	slices.SortFunc(n.Blame, func(a, b RuleVotes) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(a.Rule, b.Rule))
	})
	return err
}

func pairOf(k bpf.PairKey, votes int64) Pair {
	pair := k.Pair
	return Pair{
		Service:   k.Service,
		OldBlocks: pair == uint8(bpf.PairBothBlock) || pair == uint8(bpf.PairNewPass),
		NewBlocks: pair == uint8(bpf.PairBothBlock) || pair == uint8(bpf.PairNewBlock),
		Class:     Class(k.Class), Rule: ruleOf(k.Rule), Declared: k.IsDeclared != 0, Votes: votes,
	}
}

func ruleOf(rule uint32) int {
	switch rule {
	case uint32(bpf.RuleNone):
		return RuleNone
	case uint32(bpf.RuleSeveral):
		return RuleSeveral
	}
	return int(rule)
}

// takeTrial takes what all processors count together.
func (n *LaneCounts) takeTrial(t *bpf.Trial) {
	arm := func(i int) Arm { return Arm{Sources: int64(t.Sources[i]), Bad: int64(t.Bad[i])} }
	n.Arms = Arms{Canary: arm(0), Control: arm(1)}
	n.Hits = nil
	if h := t.Hit; h.Generation != 0 && h.Generation == n.New {
		now := Now()
		n.Hits = []Hit{{Class: Class(h.Class), Service: h.Service, Source: compile.Unmapped(h.Saddr), Rule: ruleOf(h.Rule),
			Declared: h.IsDeclared != 0, At: now.Wall.Add(-time.Duration(now.MonotonicNS - h.TimeNs))}}
	}
}
