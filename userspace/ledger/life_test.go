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
	rules := func(scores map[int]time.Duration) (all []config.Rule) {
		for score, end := range scores {
			r := config.Rule{Score: score}
			if end > 0 {
				r.Expires = noon.Add(end)
			}
			all = append(all, r)
		}
		return all
	}
	set := config.Digest{8}
	f := &files{
		record: state.Record{Applied: &state.Generation{Digest: set, Members: []state.Member{{Name: "feed", Digest: one},
			{Name: "own", Digest: two}}}},
		names: map[config.Digest]*state.Names{
			one: {Rules: rules(map[int]time.Duration{60: day, 90: 2 * day, -10: 0, 0: 0})},
			two: {Rules: rules(map[int]time.Duration{60: day, 90: 0})}},
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
