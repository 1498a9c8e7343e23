// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/ledger"
)

// egressInterval is how often the program at the way out of the interfaces is looked after.
const egressInterval = 10 * time.Second

// watchEgress sees to it that the interfaces have the program at their way out while a service asks for it, and not longer.
func (a *agent) watchEgress(d dataplane, hurry bool) {
	var names []string
	if slices.ContainsFunc(a.hostFile().Services, config.Service.AsksEgress) {
		names = a.interfaceNames()
	}
	if !hurry && slices.Equal(names, a.egressOn) && a.now().Sub(a.lastEgress) < egressInterval {
		return
	}
	a.lastEgress, a.egressOn = a.now(), names
	if err := d.SyncEgress(names); err != nil {
		a.ledger.SetProblem(ledger.ProblemEgress, "answers vouch for nobody, so services with confirm: egress judge each packet by itself: "+err.Error(), ledger.Fix(err))
		return
	}
	a.ledger.ClearProblem(ledger.ProblemEgress)
}
