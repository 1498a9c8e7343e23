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

// WatchEgress sees to it that the interfaces have the program at their way out while a service asks for it, and not
// longer.
func (ln *Links) WatchEgress(d Wiring, hurry bool) {
	var names []string
	if slices.ContainsFunc(ln.Host().Services, config.Service.AsksEgress) {
		names = ln.interfaceNames()
	}
	if !hurry && slices.Equal(names, ln.egressOn) && ln.Ledger.Now().Sub(ln.lastEgress) < egressInterval {
		return
	}
	ln.lastEgress, ln.egressOn = ln.Ledger.Now(), names
	if err := d.SyncEgress(names); err != nil {
		ln.Ledger.SetProblem(ledger.ProblemEgress,
			"answers vouch for nobody, so services with confirm: egress judge each packet by itself: "+err.Error(),
			ledger.Fix(err))
		return
	}
	ln.Ledger.ClearProblem(ledger.ProblemEgress)
}
