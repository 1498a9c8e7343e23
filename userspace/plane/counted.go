// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

const (
	// lookEvery is how often the counters are looked at: one read, a few milliseconds.
	lookEvery = time.Minute
	// looksKept are kept: ten minutes.
	looksKept = 10
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

// WatchCounters counts until ctx ends.
func (pl *Plane) WatchCounters(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var seen looks
	for {
		if d, done, err := pl.Use(); err == nil {
			counters, err := d.Counters()
			done()
			if err == nil {
				seen = seen.add(view.Count(counters))
				pl.counted.mu.Lock()
				pl.counted.last, pl.counted.span = seen.since(), time.Duration(len(seen)-1)*lookEvery
				pl.counted.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// withCounted adds what was counted.
func (pl *Plane) withCounted(r *view.Reading) {
	pl.counted.mu.Lock()
	defer pl.counted.mu.Unlock()
	r.Counted, r.CountedWhen = pl.counted.last, fmt.Sprintf("in the last %s", api.Short(pl.counted.span))
}
