// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// What follows reads a folder that an agent may hold, and changes nothing there.

// HistoryIn reads the newest entries first; limit 0 is all of them. A folder that does not exist has an empty history.
func HistoryIn(folder string, limit int) (*api.History, error) {
	entries, skipped, err := state.ReadHistory(folder, limit)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	return reply(entries, skipped), nil
}

// namesFrom is how far back the history is read for the names of bundles.
const namesFrom = 1000

// NamesIn are the names of bundles by digest, from the history.
func NamesIn(folder string) map[config.Digest]string {
	names := map[config.Digest]string{}
	entries, _, err := state.ReadHistory(folder, namesFrom)
	if err != nil {
		return names
	}
	for _, e := range entries {
		if e.Name != "" && names[e.Digest] == "" {
			names[e.Digest] = e.Name
		}
	}
	return names
}
