// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// The names that people see are those of types.h, in lower case.
func TestNamesAreThoseOfTheC(t *testing.T) {
	spec, err := LoadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		enum, prefix string
		last         string
		name         func(int) string
	}{
		{"reason", "REASON_", "REASON_MAX", func(v int) string { return ReasonName(Reason(v)) }},
		{"outcome", "OUTCOME_", "OUTCOMES", func(v int) string { return OutcomeName(Outcome(v)) }},
		{"stage", "STAGE_", "", func(v int) string { return StageName(Stage(v)) }},
	} {
		var enum *btf.Enum
		if err := spec.Types.TypeByName(c.enum, &enum); err != nil {
			t.Fatal(err)
		}
		for _, v := range enum.Values {
			if v.Name == c.last {
				continue
			}
			want := strings.ToLower(strings.TrimPrefix(v.Name, c.prefix))
			if got := c.name(int(v.Value)); got != want {
				t.Errorf("%s %d is %q in Go, %q in C", c.enum, v.Value, got, want)
			}
		}
	}
}

func TestParseReason(t *testing.T) {
	for _, r := range Reasons() {
		got, err := ParseReason(ReasonName(r))
		if err != nil || got != r {
			t.Errorf("%s: got %d, %v", ReasonName(r), got, err)
		}
	}
	for _, bad := range []string{"", "continue", "nonsense"} {
		if _, err := ParseReason(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
