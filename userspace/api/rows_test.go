// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// What programs read of a generation keeps its names, one for each kind of feature.
func TestGenerationHasANumberOfEachKind(t *testing.T) {
	g := Generation{Slot: 2, Role: "stable", Number: 7, Built: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Rules: 1,
		Rows: Rows{"prefixes4": 2, "prefixes6": 3, "tcp": 4, "p0f": 5, "ja4": 6}}
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"slot":2,"role":"stable","number":7,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000",` +
		`"built":"2026-11-28T12:00:00Z","rules":1,"prefixes4":2,"prefixes6":3,"tcp":4,"ja4":6,"p0f":5}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	var back Generation
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, g) {
		t.Errorf("%+v, %v; want %+v", back, err, g)
	}
	older := Generation{Rows: Rows{"ja4": 9}}
	if err := json.Unmarshal([]byte(`{"slot":1,"tcp":4}`), &older); err != nil || older.Rows["tcp"] != 4 ||
		older.Rows["ja4"] != 0 {
		t.Errorf("of an agent that knows fewer kinds: %+v, %v", older, err)
	}
	if json.Unmarshal([]byte(`{"tcp":"many"}`), &back) == nil {
		t.Error("a text is no number")
	}
}
