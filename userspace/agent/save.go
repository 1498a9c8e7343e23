// SPDX-License-Identifier: Apache-2.0

package agent

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
	a.host.KeepAgain()
	a.ledger.SaveAgain()
}
