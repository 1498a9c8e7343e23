// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/spillway/spillway/config"
)

// Replayed are connections of the past that were judged by both sets.
type Replayed struct {
	Connections  int64
	NewlyBlocked int64 // the old set passes, the new one blocks
}

// share is 0 where nothing was replayed: shadow is then the first to see.
func (r Replayed) share() float64 {
	if r.Connections <= 0 {
		return 0
	}
	return float64(r.NewlyBlocked) / float64(r.Connections)
}

// Classify says which way a change from one set to another takes, and measures an update of lists. It says nothing of
// max_delta: an update that exceeds it is an update still, and the engine sends it the long way.
//
//	emergency   who asks says so
//	relax       no connection from now on gets a higher score or a lower threshold (config.Relaxes)
//	delta       rows of lists came, went or changed their rule, and nothing else did
//	bundle      everything else
func Classify(old, new *config.Set, now time.Time, emergency bool, replayed Replayed) (Kind, Delta) {
	if emergency {
		return KindEmergency, Delta{}
	}
	if config.Relaxes(old, new, now) {
		return KindRelax, Delta{}
	}
	if rows, only := config.ListsChanged(old, new); only {
		return KindDelta, Delta{Rows: rows, Measured: replayed.share()}
	}
	return KindBundle, Delta{}
}

// IntentOf returns what a change declares, for the engine.
func IntentOf(old, new *config.Set) Intent {
	in := config.IntentOf(old, new)
	if in == nil {
		return Intent{}
	}
	return Intent{NewBlocks: in.NewBlocks.Fraction(), By: in.By}
}
