// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// History reads the newest entries first from the state folder; limit 0 is all of them. A folder that does not exist
// has an empty history.
func History(p Places, limit int) (*api.History, error) {
	return ledger.HistoryIn(p.State, limit)
}
