// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// The committed file is what this program writes.
func TestDashboardIsCommitted(t *testing.T) {
	var want bytes.Buffer
	if err := write(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../spillway.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("config/dashboards/spillway.json is old: go run ./config/dashboards/gen > config/dashboards/spillway.json")
	}
}

// Panels must not lie on each other, nor stick out.
func TestLayout(t *testing.T) {
	var d struct {
		SchemaVersion int
		Panels        []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(buf.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion != schemaVersion {
		t.Errorf("schema version %d", d.SchemaVersion)
	}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		at := p.GridPos
		if at.W < 1 || at.X+at.W > columns {
			t.Errorf("%s: at %+v", p.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
	}
}
