// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/json"
	"testing"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// A decision is told with its evidence; one that cannot be read takes nothing else with it.
func TestDecisionsAreTold(t *testing.T) {
	d := api.Decision{Gate: "intent", From: api.StageShadow, To: api.StageHeld, Sentence: "Too many.",
		Evidence: &api.Evidence{Votes: 1550, Undeclared: 17}}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	got := reply([]state.Entry{{Verb: "rollout", Decision: text},
		{Verb: "rollout", Decision: []byte(`{"gate":7}`)}, {Verb: "ban"}}, 0)
	if one := got.Entries[0].Decision; one == nil || one.Gate != d.Gate || one.Evidence.Undeclared != 17 {
		t.Errorf("got %+v", one)
	}
	for _, e := range got.Entries[1:] {
		if e.Decision != nil || e.Verb == "" {
			t.Errorf("got %+v", e)
		}
	}
}
