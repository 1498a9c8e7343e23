// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/spillway/spillway/config"
)

// Classify says which way a change from one set to another takes, and measures an update of lists. It says nothing of
// max_delta: an update that exceeds it is an update still, and the engine sends it the long way.
//
//	emergency   who asks says so
//	relax       no connection from now on gets a higher score or a lower threshold (config.Relaxes)
//	delta       rows of lists came, went or changed their rule, and nothing else did
//	bundle      everything else
func Classify(old, new *config.Set, now time.Time, emergency bool) (Kind, Delta) {
	if emergency {
		return KindEmergency, Delta{}
	}
	if config.Relaxes(old, new, now) {
		return KindRelax, Delta{}
	}
	if rows, only := config.ListsChanged(old, new); only {
		return KindDelta, Delta{Rows: rows}
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
