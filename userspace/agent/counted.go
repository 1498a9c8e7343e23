// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

const (
	// lookEvery is how often the counters are looked at: one read, a few milliseconds.
	lookEvery = 20 * time.Second
	// looksKept are kept: ten minutes.
	looksKept = 30
)

// looks are what was counted at the last looks, the oldest first.
type looks []view.Counted

// add takes a look, and forgets the oldest.
func (l looks) add(look view.Counted) looks {
	l = append(l, look)
	return l[max(0, len(l)-looksKept-1):]
}

// since is what was counted between the oldest look and the last.
func (l looks) since() view.Counted { return l[len(l)-1].Since(l[0]) }

// watchCounters counts until ctx ends.
func (a *agent) watchCounters(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var seen looks
	for {
		if d, done, err := a.use(); err == nil {
			counters, err := d.Counters()
			done()
			if err == nil {
				seen = seen.add(view.Count(counters))
				a.mu.Lock()
				a.counted, a.countedIn = seen.since(), time.Duration(len(seen)-1)*lookEvery
				a.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// withCounted adds what was counted. The lock is held.
func (a *agent) withCounted(r *view.Reading) {
	r.Counted, r.CountedWhen = a.counted, fmt.Sprintf("in the last %s", api.Short(a.countedIn))
}
