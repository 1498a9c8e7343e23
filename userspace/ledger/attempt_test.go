// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"testing"
	"time"
)

// Work in which processes died is left for a while that grows, and then tried again: what the site needs, later than
// what it does not.
func TestAttempt(t *testing.T) {
	for _, row := range []struct {
		name    string
		crashes int
		ago     time.Duration
		needed  bool
		tried   bool
	}{
		{"never died", 0, 0, false, true},
		{"optional, died once", 1, time.Minute, false, false},
		{"optional, died once, an hour ago", 1, time.Hour, false, true},
		{"optional, died twice", 2, time.Hour, false, false},
		{"optional, died twice, two hours ago", 2, 2 * time.Hour, false, true},
		{"optional, died often, a day ago", 40, 24 * time.Hour, false, true},
		{"needed, died twice", 2, time.Minute, true, true},
		{"needed, died three times", NeededCrashes, time.Minute, true, false},
		{"the wall clock was set back by days", 3, -48 * time.Hour, false, true},
	} {
		f := &files{crashed: map[string]int{WorkNames: row.crashes}, last: noon.Add(-row.ago)}
		l, _ := open(t, f)
		do := l.Optional
		if row.needed {
			do = l.Needed
		}
		failed := errors.New("the work's own")
		tried := false
		err := do(WorkNames, func() error {
			tried = true
			if len(f.running) != 1 {
				t.Errorf("%s: it is not noted while it goes on", row.name)
			}
			return failed
		})
		if tried != row.tried || tried && !errors.Is(err, failed) || err == nil || len(f.running) != 0 {
			t.Errorf("%s: tried %t, %v, still noted %v", row.name, tried, err, f.running)
		}
	}
}
