// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"time"
)

// Work that may take more memory than this process may have. A note in the state folder says that it is being done; a
// process that finds the note of a dead one leaves the work for a while, instead of dying of it, too, every two seconds.
const (
	workNames   = "names"   // read a whole bundle for the names of its rules
	workVerify  = "verify"  // compile a bundle again to compare it row by row
	workRestore = "restore" // build the bundle that comes back with an empty kernel
	workRebuild = "rebuild" // build the stable bundle for another host file
)

// A restart by hand, or a reboot in the middle, kills the best of work; so what the site needs is tried three times.
const (
	optionalCrashes = 1
	neededCrashes   = 3
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
	return fmt.Sprintf("the agent died %d times in a row in this work (%s), probably for want of memory; it is left until %s", e.times, e.what, e.until.UTC().Format(time.RFC3339))
}

// attempt does work unless processes died in it lately.
func (a *agent) attempt(what string, crashes int, f func() error) error {
	if times, last := a.store.Crashed(what); times >= crashes {
		leave := firstLeave << min(times-crashes, 10)
		if until := last.Add(min(leave, longestLeave)); a.now().Before(until) && a.now().After(last.Add(-longestLeave)) {
			return &errLeft{what, times, until}
		}
	}
	defer a.store.Attempt(what)()
	return f()
}

func (a *agent) optional(what string, f func() error) error {
	return a.attempt(what, optionalCrashes, f)
}

func (a *agent) needed(what string, f func() error) error { return a.attempt(what, neededCrashes, f) }
