// SPDX-License-Identifier: Apache-2.0

package agent

import "github.com/spillway/spillway/userspace/ledger"

// saveAgain writes what the disk refused before, and reads what could not be read.
func (a *agent) saveAgain() {
	if a.now().Sub(a.lastSave).Abs() < saveInterval {
		return
	}
	a.lastSave = a.now()
	if a.ledger.Reopen() {
		a.reopened.Store(true)
	}
	a.bans.Flush()
	if _, notKept := a.ledger.Problem(ledger.ProblemKept); notKept {
		a.keepHost()
	}
	a.ledger.SaveAgain()
}
