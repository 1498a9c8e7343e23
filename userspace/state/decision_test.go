// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"strings"
	"testing"
)

// A decision comes back as it was written; one that would fill the history is left out, and its line stays.
func TestDecisionsAreKept(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	small, large := `{"gate":"intent","sentence":"<1 % & more"}`, `{"sentence":"`+strings.Repeat("x", maxDecision)+`"}`
	for _, text := range []string{small, large} {
		if err := s.Append(Entry{Verb: "rollout", Decision: json.RawMessage(text)}); err != nil {
			t.Fatal(err)
		}
	}
	got, skipped, err := s.History(0)
	if err != nil || skipped != 0 || len(got) != 2 || string(got[1].Decision) != small || got[0].Decision != nil {
		t.Errorf("%+v, %d skipped, %v", got, skipped, err)
	}
}
