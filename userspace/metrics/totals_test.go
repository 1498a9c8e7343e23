// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

func names(prefix string) func(uint16) ruleKey {
	return func(i uint16) ruleKey { return ruleKey{fmt.Sprintf("%s%d", prefix, i), "label"} }
}

// Slots are filled again and their counts begin at zero; the totals must not.
func TestRuleTotalsOnlyGrow(t *testing.T) {
	tot := NewTotals(nil)
	step := func(want string, all ...ruleHits) {
		t.Helper()
		tot.addRules(all)
		_, rules := tot.snapshot()
		got := ""
		for _, id := range []string{"a0", "a1", "b0", "other"} {
			for _, r := range rules {
				if r.ID == id {
					got += fmt.Sprintf("%s=%d ", id, r.Matches)
				}
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	step("a0=5 ", ruleHits{1, map[uint16]uint64{0: 5}, names("a")})
	step("a0=7 a1=1 ", ruleHits{1, map[uint16]uint64{0: 7, 1: 1}, names("a")})
	step("a0=8 a1=1 b0=3 ", ruleHits{1, map[uint16]uint64{0: 8, 1: 1}, names("a")},
		ruleHits{2, map[uint16]uint64{0: 3}, names("b")})
	step("a0=8 a1=1 b0=4 ", ruleHits{2, map[uint16]uint64{0: 4}, names("b")})  // generation 1 left
	step("a0=10 a1=1 b0=4 ", ruleHits{3, map[uint16]uint64{0: 2}, names("a")}) // the same bundle again, another number
	step("a0=11 a1=1 b0=4 ", ruleHits{3, map[uint16]uint64{0: 1}, names("a")}) // the slot's counts began again
}

func TestRuleTotalsAreBounded(t *testing.T) {
	tot := NewTotals(nil)
	hits := map[uint16]uint64{}
	for i := range 300 {
		hits[uint16(i)] = uint64(i + 1)
	}
	tot.addRules([]ruleHits{{1, hits, names("r")}})
	_, rules := tot.snapshot()
	if len(rules) != namedRules+1 {
		t.Fatalf("%d series", len(rules))
	}
	sum := func() (total, other uint64) {
		_, rules := tot.snapshot()
		for _, r := range rules {
			total += r.Matches
			if r.ID == "other" {
				other = r.Matches
			}
		}
		return total, other
	}
	total, other := sum()
	if total != 300*301/2 || other != 100*101/2 {
		t.Errorf("total %d, other %d: the rules with most matches must have the names", total, other)
	}
	hits[0] = 1_000_000 // one of the others becomes the busiest
	tot.addRules([]ruleHits{{1, hits, names("r")}})
	if total2, other2 := sum(); other2 < other || total2 != total+999_999 {
		t.Errorf("total %d → %d, other %d → %d", total, total2, other, other2)
	}
}

// The kernel's own sum is the total: what an agent saw before plays no part.
func TestCountsAreTheKernels(t *testing.T) {
	tot := NewTotals(nil)
	name := func(id uint8) string { return fmt.Sprint(id) }
	pass, drop := bpf.Outcome(bpf.OutcomePass), bpf.Outcome(bpf.OutcomeDrop)
	row := func(service, slot uint8, left bool, o bpf.Outcome, packets, connections, alone uint64) loader.Counter {
		return loader.Counter{Service: service, Slot: slot, Left: left, Reason: bpf.ReasonPrefix, Outcome: o,
			Packets: packets, Connections: connections, Alone: alone}
	}
	tot.see([]loader.Counter{row(1, 1, false, pass, 5, 1, 0), row(1, 2, false, pass, 2, 1, 0)}, name)
	// Slot 1 was filled again: what its generation counted has left it.
	tot.see([]loader.Counter{row(1, 1, false, pass, 1, 1, 0), row(1, 2, false, pass, 2, 1, 0),
		row(1, 0, true, pass, 5, 1, 0), row(2, 0, true, drop, 9, 4, 3)}, name)
	got, _ := tot.snapshot()
	want := []Count{{Service: "1", Reason: "prefix", Verdict: "pass", Packets: 8, Connections: 3},
		{Service: "2", Reason: "prefix", Verdict: "drop", Packets: 9, Connections: 4, Alone: 3}}
	if diff := cmp.Diff(want, got,
		cmpopts.SortSlices(func(a, b Count) bool { return a.Service < b.Service })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// An agent that starts again counts matches from there on: a total that fell to what the kernel has would count as that
// many new matches.
func TestRuleTotalsBeginWhereAnotherAgentEnded(t *testing.T) {
	tot := NewTotals(nil)
	tot.adopt([]ruleHits{{1, map[uint16]uint64{0: 100}, names("a")}, {2, map[uint16]uint64{0: 7}, nameless}})
	if _, rules := tot.snapshot(); len(rules) != 1 || rules[0] != (Rule{ID: "a0", Label: "label"}) {
		t.Errorf("at the start: %+v", rules)
	}
	tot.addRules([]ruleHits{{1, map[uint16]uint64{0: 103, 1: 1}, names("a")}, {2, map[uint16]uint64{0: 7}, names("b")}})
	got := map[string]uint64{}
	_, rules := tot.snapshot()
	for _, r := range rules {
		got[r.ID] = r.Matches
	}
	if diff := cmp.Diff(map[string]uint64{"a0": 3, "a1": 1}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
