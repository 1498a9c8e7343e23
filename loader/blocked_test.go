// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// A connection that is over its limit is blocked until there is room. It is left alone from then on, though no packet
// came that ended the block.
func TestBlockedFlowsEndWithTheirBlock(t *testing.T) {
	d := openTest(t, Options{Pins: testPins(t)})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	all, err := d.Generations()
	if err != nil {
		t.Fatal(err)
	}
	d.SetBaked(all[0].Number)
	c, now := d.Control(), kernel.MonotonicNS()
	for i, row := range []struct {
		what    string
		flow    bpf.Flow
		blocked bool
	}{
		{"for good", bpf.Flow{ExpiresNs: uint64(DeadlineForever), Verdict: uint8(bpf.VerdictDrop)}, true},
		{"over a limit", bpf.Flow{ExpiresNs: now + uint64(time.Hour), Verdict: uint8(bpf.VerdictDrop),
			Hint: uint8(bpf.HintCharged | bpf.HintOver)}, true},
		{"over a limit that has room now", bpf.Flow{ExpiresNs: now, Verdict: uint8(bpf.VerdictDrop),
			Hint: uint8(bpf.HintCharged | bpf.HintOver)}, false},
		{"within a limit", bpf.Flow{ExpiresNs: uint64(DeadlineForever), Verdict: uint8(bpf.VerdictPass),
			Hint: uint8(bpf.HintCharged | bpf.HintTagged)}, false},
	} {
		f := row.flow
		f.Epoch, f.Slot, f.Generation, f.Flags = c.Epoch, c.Stable, all[0].Number, uint8(bpf.FlowConfirmed)
		key := flowKey("198.51.100.9", uint16(i+1))
		putFlow(t, d, key, f)
		found, _, err := d.BlockedFlows(&FlowWalk{}, 10, nil)
		if err != nil || (len(found) == 1) != row.blocked {
			t.Errorf("%s: %d found, %v", row.what, len(found), err)
		}
		if err := d.FlowTable.maps[bpf.DataplaneMapFlows].Delete(d.NameOf(key)); err != nil {
			t.Fatal(err)
		}
	}
}
