// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// History reads the newest entries first from the state folder; limit 0 is all of them. A folder that does not exist
// has an empty history.
func History(p Places, limit int) (*api.History, error) {
	entries, skipped, err := state.ReadHistory(p.State, limit)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	h := &api.History{Envelope: api.NewEnvelope(), Entries: []api.HistoryEntry{}, Skipped: skipped}
	for _, e := range entries {
		h.Entries = append(h.Entries, api.HistoryEntry(e))
	}
	return h, nil
}
