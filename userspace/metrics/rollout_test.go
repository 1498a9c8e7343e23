// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spillway/spillway/userspace/api"
)

// stages has a rollout in its canary, and one of each thing beside it.
func stages() *api.Stages {
	return &api.Stages{Frozen: &api.Frozen{Why: "sale"}, Quarantine: []api.Quarantined{{Name: "a"}, {Name: "b"}},
		Rollouts: []api.Rollout{
			{ID: "1", State: api.RolloutHeld, Staged: &api.Staged{Stage: api.StageHeld, Lane: "main"}},
			{ID: "2", State: api.RolloutQueued, Staged: &api.Staged{Stage: api.StageQueued, Lane: "main"}},
			{ID: "3", State: api.RolloutRunning, Staged: &api.Staged{Stage: api.StageCanary, Lane: "main", SharePermille: 50,
				Since: noon.Add(-time.Hour), Estimate: &api.Estimate{TotalSecondsLeft: pointer(90.0)},
				Evidence: &api.Evidence{Votes: 1550, Declared: 93, Undeclared: 2, NewPasses: 12, BothBlock: 310, Lost: 5,
					Arms: &api.Arms{Canary: api.Arm{Sources: 320, Failing: 6}, Control: api.Arm{Sources: 6080, Failing: 118}}}}},
		}}
}

func TestRolloutValues(t *testing.T) {
	want, err := os.ReadFile("testdata/rollout.prom")
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(fixed{s: full()}))
	var names []string
	for line := range strings.Lines(string(want)) {
		if fields := strings.Fields(line); fields[1] == "TYPE" {
			names = append(names, fields[2])
		}
	}
	if len(names) != len(allOfRollouts) {
		t.Errorf("%d metrics are held, %d there are", len(names), len(allOfRollouts))
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader(string(want)), names...); err != nil {
		t.Error(err)
	}
}

// What is not known is absent, and a host without stages says nothing of them.
func TestRolloutMetricsThatAreAbsent(t *testing.T) {
	s := full()
	s.Status.Stages = &api.Stages{}
	if n, err := testutil.GatherAndCount(registered(s), "spillway_rollout_seconds_left",
		"spillway_rollout_stage_start_time_seconds"); n != 0 || err != nil {
		t.Errorf("%d series without a rollout, %v", n, err)
	}
	most, err := testutil.GatherAndCount(registered(full()), rolloutNames(t)...)
	if none, _ := testutil.GatherAndCount(registered(s), rolloutNames(t)...); err != nil || most-none != 2 {
		t.Errorf("%d series with a rollout, %d without: they must not come and go; %v", most, none, err)
	}
	s.Status.Stages = nil
	if n, err := testutil.GatherAndCount(registered(s), rolloutNames(t)...); n != 0 || err != nil {
		t.Errorf("%d series of a host without stages, %v", n, err)
	}
}

func registered(s *Snapshot) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(fixed{s: s}))
	return r
}

func rolloutNames(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range allOfRollouts {
		names = append(names, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(m.desc.String())[1])
	}
	return names
}

// Every gate of the engine has its series.
func TestEveryGateIsCounted(t *testing.T) {
	text, err := os.ReadFile("../rollout/stage.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Gate +(?:Gate )?= "([a-z]+)"`).FindAllStringSubmatch(string(text), -1)
	found = append(found, regexp.MustCompile(`Gate[A-Z][a-z]+ +Gate = "([a-z]+)"`).FindAllStringSubmatch(string(text),
		-1)...)
	if len(found) < len(gates) {
		t.Errorf("%d gates are found, %d have a series", len(found), len(gates))
	}
	for _, g := range found {
		if !slices.Contains(gates, g[1]) {
			t.Errorf("the gate %q has no series", g[1])
		}
	}
}
