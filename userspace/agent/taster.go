// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync/atomic"

	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/taste"
)

// tasting is how long children may run: as long as the agent does.
type tasting struct {
	until atomic.Pointer[context.Context]
}

// begin takes away what children left that were killed, or whose agent was.
func (ts *tasting) begin(ctx context.Context, a *agent) {
	ts.until.Store(&ctx)
	if err := taste.Sweep(a.host.Host().Paths.Pins); err != nil {
		a.log.Warn("what a killed taste left stays pinned; nothing of it is in force", "error", err)
	}
}

func (ts *tasting) context() context.Context {
	if ctx := ts.until.Load(); ctx != nil {
		return *ctx
	}
	return context.Background()
}

// taster builds in a child. What stands for a kernel in a test takes no maps of another process, and a build with cgo
// cannot take the child's rights away: there the agent builds, and no golden client is tried.
func (a *agent) taster() stages.Taster {
	hand := a.release.Hand()
	if !taste.Possible() {
		a.log.Warn("this build uses cgo and builds in the agent; golden clients are not tried")
		return stages.InProcess{Hand: hand}
	}
	if d, done, err := a.use(); err == nil {
		_, takes := d.(stages.Kitchen)
		done()
		if !takes {
			return stages.InProcess{Hand: hand}
		}
	}
	paths := a.host.Host().Paths
	return stages.Child{Hand: hand, Log: a.log, Context: a.tasting.context, State: paths.State, Pins: paths.Pins}
}
