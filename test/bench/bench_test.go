// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("benchmarks load programs and make network namespaces: root is needed")
	}
	t.Skip("left out: benchmarks load programs and make network namespaces: root is needed")
}

func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	needRoot(t)
	l, err := lab.New(t.Context(), lab.Options{Name: "bench test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

// newFilter loads xdp-filter; without it its rows are left out, visibly.
func newFilter(t *testing.T, l *lab.Lab) *xdpFilter {
	t.Helper()
	filter, err := loadXDPFilter(l, listedSources())
	if err != nil {
		t.Fatal(err)
	}
	if filter == nil {
		t.Log("left out: xdp-filter is not installed (Debian: xdp-tools)")
		return nil
	}
	t.Cleanup(func() {
		if err := filter.close(); err != nil {
			t.Error(err)
		}
	})
	return filter
}

// Every program run takes the path that its name says; nothing is timed here.
func TestProgramRunsStayAlive(t *testing.T) {
	l := newLab(t)
	r := &results{sizes: briefSizes}
	if err := r.runPrograms(l, newFilter(t, l), nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.sections {
		for _, r := range s.rows {
			if r.raw.median <= 0 {
				t.Errorf("%s: nothing measured", r.key)
			}
		}
	}
}

func TestLiveFramesStayAlive(t *testing.T) {
	l := newLab(t)
	r, err := newLiveRig(l, briefSizes, newFilter(t, l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	rows, err := r.measure()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.mpps.median <= 0 || row.lost > 0.5 {
			t.Errorf("%s: %.3f million packets a second, %.0f %% lost", row.name, row.mpps.median, 100*row.lost)
		}
	}
}

func TestWebStaysAlive(t *testing.T) {
	r, err := newWebRig(t.Context(), newLab(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	rows, err := r.measure(t.Context(), []int{1}, webTimes{warm: 500 * time.Millisecond, watch: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.visitors.Served() == 0 {
			t.Errorf("%s: no visitor was served: %v", row.protection, row.visitors.Errors)
		}
		if row.protection != "none" && (row.crawled > 0 || row.answered > 0) {
			t.Errorf("%s: %d requests of the crawler were served, %.0f %% of the scanner's answered", row.protection,
				row.crawled, 100*row.answered)
		}
	}
}

func TestEffectsStayAlive(t *testing.T) {
	needRoot(t)
	rows, err := measureEffects(2)
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	load, err := measureLoad(100)
	if err != nil || load.build <= 0 {
		t.Fatalf("load: %+v: %v", load, err)
	}
}

// The agent takes a list, and what it takes of the host is read of its process. An emergency needs its ten seconds, so
// there is none here.
func TestHostStaysAlive(t *testing.T) {
	row, err := measureHost(t.Context(), newLab(t), 100, agentTimes{watch: 100 * time.Millisecond})
	if err != nil || row.resident == 0 || row.most < row.resident || row.mpps <= 0 {
		t.Fatalf("%+v: %v", row, err)
	}
}

// Only rows that both builds have are compared.
func TestOnlyCommonRowsAreCompared(t *testing.T) {
	d := duel{loads: 1, rounds: 1, ours: series{"hot floor": {10, 12, 11}},
		theirs: series{"hot floor": {9, 12, 12}, "hot new": {1}}}
	var b strings.Builder
	d.write(&b, "A build.")
	if want := "| hot floor | 12.0 (9.0–12.0) | 11.0 (10.0–12.0) | +0.0 (-1.0–+1.0) |"; !strings.Contains(b.String(),
		want) || strings.Contains(b.String(), "hot new") {
		t.Errorf("want the row %q and no other:\n%s", want, b.String())
	}
}

// A few hellos of others take no place from a denied one.
func TestPlacesStayAlive(t *testing.T) {
	needRoot(t)
	table, err := measurePlaces([]int{10})
	if err != nil || len(table.rows) != 2 || table.of == 0 {
		t.Fatalf("%+v: %v", table, err)
	}
	for _, row := range table.rows {
		if row.lost > 0 {
			t.Errorf("%+v: none is lost beside ten others", row)
		}
	}
}
