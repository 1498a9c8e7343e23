// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

// rows is a version of base that blocks these hosts.
func (s *site) rows(t *testing.T, hosts ...int) *config.Bundle {
	t.Helper()
	var list strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&list, "198.51.100.%d/32\n", h)
	}
	files := api.Files{"base.netset": []byte(list.String()), config.BundleFile: []byte(`version: 1
name: base
rules: [{id: base, label: base, score: 100}]
features:
  prefixes: [{list: base, rule: base, file: base.netset}]
intent: {expects: {new_blocks: 10%, by: [base]}}
policy: {default: {drop: 80}}
`)}
	b, err := config.ParseBundle(config.BundleFile, files[config.BundleFile], files, s.file.Host,
		config.BundleOptions{Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What lets more pass than a rollout that bakes goes on baking with it. Where that is taken back it may block more than
// what is stable then: it takes all stages, and a gate looks at it.
func TestRelaxationOfWhatWasTakenBackTakesAllStages(t *testing.T) {
	s := newSite(t, 1)
	first, second, third := s.rows(t, 1), s.rows(t, 1, 2, 3), s.rows(t, 2, 3)
	if _, err := s.apply(first, api.RolloutRequest{Accept: "meant"}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	if _, err := s.apply(second, api.RolloutRequest{Accept: "meant"}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "bake", func() bool { return s.stable()[second.Digest] })
	s.looks(2)
	if _, err := s.apply(third, api.RolloutRequest{Accept: "meant"}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "it bakes with the other", func() bool { return len(s.st.memory.State.Joined) == 1 })
	s.truth[third.Digest] = truth{protected: true}
	s.until(t, "both are taken back", func() bool { return s.stable()[first.Digest] })
	s.until(t, "it is over", func() bool {
		if s.stable()[third.Digest] {
			t.Fatalf("it decides again, and no gate looked at it\n  %s", s.said())
		}
		return !s.st.memory.runs()
	})
	if q := s.ledger.Record().Quarantine; len(q) != 2 || s.st.memory.State.Main.Stage != rollout.StageNone {
		t.Errorf("quarantine %+v\n  %s", q, s.said())
	}
}

// The main lane names what joins a bake from the look on in which that became stable, beside what was in force before
// the bake: else nobody could charge its extra blocks, and they would pass. What was counted stays.
func TestRelaxationInABakeHasTheLane(t *testing.T) {
	s := newSite(t, 1)
	first, second, third := s.rows(t, 1), s.rows(t, 1, 2, 3), s.rows(t, 2, 3)
	for _, b := range []*config.Bundle{first, second} {
		if _, err := s.apply(b, api.RolloutRequest{Accept: "meant"}); err != nil {
			t.Fatal(err)
		}
		if b == first {
			s.done(t)
		}
	}
	before := s.k.Number(s.k.Word.Stable)
	s.until(t, "bake", func() bool { return s.stable()[second.Digest] })
	s.looks(2)
	counted := s.st.memory.State.Main.Tally
	if _, err := s.apply(third, api.RolloutRequest{Accept: "meant"}); err != nil {
		t.Fatal(err)
	}
	joined := 0
	s.until(t, "the bake is over", func() bool {
		if s.st.memory.State.Main.Stage != rollout.StageBake {
			return true
		}
		l, stable := s.k.Lanes[loader.LaneMain], s.k.Number(s.k.Word.Stable)
		if !l.On || l.To.New != stable || l.To.Old != before || !s.k.Word.Budget {
			t.Fatalf("generation %d decides under budget %t, and the lane has %+v", stable, s.k.Word.Budget, l.To)
		}
		if s.stable()[third.Digest] {
			joined++
		}
		now := s.st.memory.State.Main.Tally
		if now.Before.Pairs+now.Last.Pairs < counted.Before.Pairs+counted.Last.Pairs {
			t.Fatalf("counted %+v, and now %+v", counted, now)
		}
		return false
	})
	if joined == 0 || !s.stable()[third.Digest] {
		t.Errorf("it did not join for a look\n  %s", s.said())
	}
}
