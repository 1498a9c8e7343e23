// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// The sums of an image are those of the slot that it was built into, and another image's differ.
func TestF11SumsOfAGeneration(t *testing.T) {
	d := openTest(t, Options{})
	bundle := testBundle("198.51.100.0/24", "2001:db8::/32", "203.0.113.7/32")
	img := publish(t, d, testHost(), bundle)
	slot := d.Control().Stable
	got, err := d.SumGeneration(slot)
	if err != nil {
		t.Fatal(err)
	}
	want := img.Sums()
	if drift := want.Drift(slot, got); len(drift) > 0 || want[bpf.DataplaneMapPrefixes4] == "" ||
		want[bpf.DataplaneMapPrefixes6] == "" {
		t.Errorf("drift %v; sums %v", drift, want)
	}
	_, other := compiled(t, d, testHost(), testBundle("198.51.100.0/24", "2001:db8::/32", "203.0.113.8/32"))
	if drift := other.Sums().Drift(slot, got); len(drift) == 0 || !strings.Contains(drift[len(drift)-1].Where, "slot") {
		t.Errorf("another image shows no drift: %v", drift)
	}
	if drift := want.Drift(0, compile.Sums{}); len(drift) != len(want) {
		t.Errorf("an empty slot: %v", drift)
	}
}
