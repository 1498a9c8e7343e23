// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
)

// What differs is named field by field: a generation has thousands of them, and a person reads one line.
func TestDriftNamesTheField(t *testing.T) {
	want, got := bpf.Generation{Number: 7, Digest: [32]uint8{1}}, bpf.Generation{Number: 7, Digest: [32]uint8{2}}
	want.Policies[1], got.Policies[1] = bpf.Policy{Tag: 5, Drop: 80}, bpf.Policy{Tag: 5, Drop: 90, Flags: 1}
	got.Pairs[3] = 9
	zeros := ""
	for range 31 {
		zeros += "00"
	}
	diff := cmp.Diff([]Drift{{"generation entry 0.Digest", "01" + zeros, "02" + zeros},
		{"generation entry 0.Policies[1].Drop", "80", "90"}, {"generation entry 0.Policies[1].Flags", "0", "1"},
		{"generation entry 0.Pairs[3]", "0", "9"}},
		fieldDrifts("generation entry 0", reflect.ValueOf(want), reflect.ValueOf(got)))
	if diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
