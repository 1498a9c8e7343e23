// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/ledger"
)

// egressInterval is how often the program at the way out of the interfaces is looked after.
const egressInterval = 10 * time.Second

// WatchEgress sees to it that the interfaces have the program at their way out while a service asks for it, and not longer.
func (pl *Plane) WatchEgress(d Dataplane, hurry bool) {
	var names []string
	if slices.ContainsFunc(pl.Host().Services, config.Service.AsksEgress) {
		names = pl.InterfaceNames()
	}
	if !hurry && slices.Equal(names, pl.egressOn) && pl.Ledger.Now().Sub(pl.lastEgress) < egressInterval {
		return
	}
	pl.lastEgress, pl.egressOn = pl.Ledger.Now(), names
	if err := d.SyncEgress(names); err != nil {
		pl.Ledger.SetProblem(ledger.ProblemEgress, "answers vouch for nobody, so services with confirm: egress judge each packet by itself: "+err.Error(), ledger.Fix(err))
		return
	}
	pl.Ledger.ClearProblem(ledger.ProblemEgress)
}
