// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"path/filepath"

	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
)

// lookAtHostFile compares the host file on disk with the one in force, and says so where they differ: somebody edited it
// and believes that it counts.
func (a *agent) lookAtHostFile() {
	d, done, err := a.plane.Use()
	if err != nil {
		a.lookAtHost(nil)
		return
	}
	defer done()
	a.lookAtHost(d)
}

// lookAtHost is lookAtHostFile for who has the dataplane; nil: nobody can have it.
func (a *agent) lookAtHost(d plane.Dataplane) {
	p := a.disk.Look(a.opts.HostPath, a.loaded().Digest)
	if d != nil {
		a.tellCapacity(d, p != nil)
	}
	if p == nil {
		a.ledger.ClearProblem(ledger.ProblemHostOld)
		a.ledger.ClearProblem(ledger.ProblemReload) // what was held is no longer there
		return
	}
	if _, held := a.ledger.Problem(ledger.ProblemReload); held { // it says the same, and why
		a.ledger.ClearProblem(ledger.ProblemHostOld)
		return
	}
	a.ledger.SetProblem(ledger.ProblemHostOld, p.Message, p.Fix)
}

// keepHost keeps the host file that is in force in the state folder: an agent that finds a broken one at its start goes on
// with it.
func (a *agent) keepHost() {
	f := a.loaded()
	if f.Text == nil {
		return
	}
	path, err := filepath.Abs(a.opts.HostPath)
	if err == nil {
		err = a.store.SaveHost(path, f.Text)
	}
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemKept, err.Error(), "free or repair the disk; until then a broken host file at the next start ends the agent")
		return
	}
	a.ledger.ClearProblem(ledger.ProblemKept)
}
