// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/spillway/spillway/userspace/view"
)

const (
	// firstEvery is how often first payloads are counted: one read of the counters, a few milliseconds.
	firstEvery = 20 * time.Second
	// firstLooks are kept: ten minutes.
	firstLooks = 30
)

// firsts are what was counted at the last looks, the oldest first.
type firsts []map[uint8]view.First

// add takes a look, and forgets the oldest.
func (f firsts) add(look map[uint8]view.First) firsts {
	f = append(f, look)
	return f[max(0, len(f)-firstLooks-1):]
}

// since is what was counted between the oldest look and the last.
func (f firsts) since() map[uint8]view.First {
	grown := map[uint8]view.First{}
	for id, n := range f[len(f)-1] {
		grown[id] = n.Since(f[0][id])
	}
	return grown
}

// watchFirst counts first payloads until ctx ends.
func (a *agent) watchFirst(ctx context.Context) {
	ticker := time.NewTicker(firstEvery)
	defer ticker.Stop()
	var looks firsts
	for {
		if d, done, err := a.use(); err == nil {
			counters, err := d.Counters()
			done()
			if err == nil {
				looks = looks.add(view.CountFirst(counters))
				a.mu.Lock()
				a.first, a.firstFor = looks.since(), time.Duration(len(looks)-1)*firstEvery
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

// withFirst adds what was counted. The lock is held.
func (a *agent) withFirst(r *view.Reading) {
	r.First, r.FirstWhen = a.first, fmt.Sprintf("in the last %s", short(a.firstFor))
}
