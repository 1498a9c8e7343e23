// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/model/oracle"
)

var update = flag.Bool("update", false, "write docs/VERDICTS.md again")

var page = filepath.Join("..", "..", "..", "docs", "VERDICTS.md")

func sections() []section {
	return []section{tags(), options(), extensions(), fragments(), truncations(), flags(), lengths(), others()}
}

// cell is how the packets of a class fared under one column: how many came to what.
type cell map[string]int

// result is the whole matrix: by section, class, column.
type result struct {
	sections []section
	columns  []column
	cells    [][][]cell
	packets  int // distinct ones
	runs     int
}

// TestVerdicts runs every packet under every column, asserts what must hold for each, and compares the page.
func TestVerdicts(t *testing.T) {
	p := compare.OpenFor(t, compare.AsShipped)
	r := result{sections: sections(), columns: columns()}
	for _, s := range r.sections {
		byClass := make([][]cell, len(s.classes))
		for i, c := range s.classes {
			if len(c.packets) == 0 {
				t.Errorf("%s: %s: no packets", s.title, c.name)
			}
			byClass[i] = make([]cell, len(r.columns))
			r.packets += len(c.packets)
		}
		r.cells = append(r.cells, byClass)
	}
	for at, col := range r.columns {
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		m := oracle.NewModel(col.world)
		if err := p.Publish(&m.World); err != nil {
			t.Fatal(err)
		}
		for i, s := range r.sections {
			for j, c := range s.classes {
				r.cells[i][j][at] = fare(t, p, m, col, c)
				r.runs += len(c.packets)
			}
		}
		wrong, err := p.CheckCounters()
		if err != nil || len(wrong) > 0 {
			t.Errorf("%s: counters that no packet should have moved: %q, %v", col.name, wrong, err)
		}
	}
	t.Logf("%d packets, %d runs", r.packets, r.runs)
	if !t.Failed() {
		comparePage(t, r.render())
	}
}

// fare runs the packets of a class: each must come to what the model says, move one counter, and keep to the
// invariants.
func fare(t *testing.T, p *compare.Plane, m *oracle.Model, col column, c class) cell {
	t.Helper()
	fared := cell{}
	for _, s := range c.packets {
		frame := s.bytes()
		want := m.Decide(frame)
		action, difference, err := p.Check(frame, want)
		if err != nil {
			t.Fatalf("%s, %s: run a frame of %d bytes: %v", col.name, c.name, len(frame), err)
		}
		if difference == "" {
			difference = violated(col, c, s, action, want)
		}
		if difference != "" {
			t.Errorf("%s, %s: %s\nframe %x", col.name, c.name, difference, frame)
			return fared
		}
		fared[bpf.OutcomeName(want.Outcome)+" "+bpf.ReasonName(want.Reason)]++
	}
	return fared
}

// violated names the invariant that a packet broke. It does not ask the model, and knows only how the packet was built.
func violated(col column, c class, s sample, action uint32, got oracle.Result) string {
	switch {
	case action != compare.Pass && action != compare.Drop:
		return "neither XDP_PASS nor XDP_DROP: " + compare.ActionName(action)
	case col.never && action == compare.Drop:
		return "dropped, although nothing speaks against the source"
	case col.denies && c.exempt == "" && s.hasAddresses() && action != compare.Drop:
		return "a layer is a way around the rule: passed as " + got.String()
	case col.denies && c.exempt != "" && action == compare.Drop:
		return "dropped, although the page excepts it"
	case col.name == "known fingerprint" && s.isSYN() && c.hidden == "" && action != compare.Drop:
		return "a layer is a way around the fingerprint: passed as " + got.String()
	}
	return ""
}

func comparePage(t *testing.T, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/VERDICTS.md is not what the program does: look at each line that changed, then `go test ./test/dataplane/matrix -update` (-page +program):\n"+
			"%s",
			diff)
	}
}
