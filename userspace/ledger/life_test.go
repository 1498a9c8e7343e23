// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// Each bundle of a set has a life of its own: another one that is renewed every hour does not make it younger.
func TestA08LivesOfBundles(t *testing.T) {
	day := 24 * time.Hour
	until := func(score int, end time.Duration) config.Rule {
		return config.Rule{Score: score, Expires: noon.Add(end)}
	}
	forever := func(score int) config.Rule { return config.Rule{Score: score} }
	set := config.Digest{8}
	f := &files{
		record: state.Record{Applied: &state.Generation{Digest: set, Members: []state.Member{{Name: "feed", Digest: one},
			{Name: "own", Digest: two}}}},
		names: map[config.Digest]*state.Names{
			one: {Rules: []config.Rule{until(60, day), until(90, 2*day), until(70, day), forever(-10), forever(0)}},
			two: {Rules: []config.Rule{until(60, day), forever(90), until(70, day)}}},
	}
	f.names[one].Stored = noon.Add(-day)
	l, _ := open(t, f)
	want := []Life{{"feed", noon.Add(-day), noon.Add(2 * day)}}
	if got := l.Lives(set); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	f.names[two].Stored = noon
	want = append(want, Life{Name: "own", Since: noon})
	for range 2 { // the second time without the disk
		if got := l.Lives(set); !slices.Equal(got, want) {
			t.Errorf("when the disk knows the other: %v, want %v", got, want)
		}
		f.names = nil
	}
	if got := l.Lives(config.Digest{9}); len(got) != 0 {
		t.Errorf("of a set that nobody knows: %v", got)
	}
}
