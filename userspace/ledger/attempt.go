// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"time"
)

// Work that may take more memory than this process may have. A note in the state folder says that it is being done; a
// process that finds the note of a dead one leaves the work for a while, instead of dying of it, too, every two
// seconds.
const (
	WorkNames   = "names"   // read a whole bundle for the names of its rules
	WorkVerify  = "verify"  // compile a bundle again to compare it row by row
	WorkRestore = "restore" // build the bundle that comes back with an empty kernel
	WorkRebuild = "rebuild" // build the stable bundle for another host file
)

// A restart by hand, or a reboot in the middle, kills the best of work; so what the site needs is tried three times.
const (
	optionalCrashes = 1
	NeededCrashes   = 3
	firstLeave      = time.Hour
	longestLeave    = 24 * time.Hour
)

// errLeft says that work was left, because processes died in it.
type errLeft struct {
	what  string
	times int
	until time.Time
}

func (e *errLeft) Error() string {
	return fmt.Sprintf(
		"the agent died %d times in a row in this work (%s), probably for want of memory; it is left until %s", e.times,
		e.what, e.until.UTC().Format(time.RFC3339))
}

// attempt does work unless processes died in it lately.
func (l *Ledger) attempt(what string, crashes int, f func() error) error {
	if times, last := l.store.Crashed(what); times >= crashes {
		leave := firstLeave << min(times-crashes, 10)
		if until := last.Add(min(leave, longestLeave)); l.now().Before(until) && l.now().After(last.Add(-longestLeave)) {
			return &errLeft{what, times, until}
		}
	}
	defer l.store.Attempt(what)()
	return f()
}

// Optional is work that the site does not need.
func (l *Ledger) Optional(what string, f func() error) error {
	return l.attempt(what, optionalCrashes, f)
}

// Needed is work that the site needs.
func (l *Ledger) Needed(what string, f func() error) error { return l.attempt(what, NeededCrashes, f) }
