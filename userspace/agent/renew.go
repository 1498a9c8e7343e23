// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"time"

	"github.com/spillway/spillway/userspace/retry"
)

// ErrRenew: this process cannot open the kernel part any more, and a new one may. Whoever called Run replaces the
// process by itself, with Options.Renewed one higher. Traffic is not touched: what enforces goes on, what does not
// passes.
var ErrRenew = errors.New("the agent must start in a new process")

// renewDue reports whether it is time for a new process: the first at once, each further one after twice the time, at
// least once a minute. Meanwhile the agent answers, and status says why nothing protects.
func (a *agent) renewDue() bool {
	return a.stale.Load() && a.now().Sub(a.started) >= renewAfter(a.opts.Renewed)
}

func renewAfter(renewed int) time.Duration {
	if renewed == 0 {
		return 0
	}
	return min(retry.First<<min(renewed-1, 10), retry.Last)
}
