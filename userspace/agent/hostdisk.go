// SPDX-License-Identifier: Apache-2.0

package agent

import "path/filepath"

// lookAtHostFile compares the host file on disk with the one in force, and says so where they differ: somebody edited it
// and believes that it counts.
func (a *agent) lookAtHostFile() {
	p := a.disk.Look(a.opts.HostPath, a.loaded().Digest)
	if d, done, err := a.use(); err == nil {
		a.tellCapacity(d, p != nil)
		done()
	}
	if p == nil {
		a.clearProblem(problemHostOld)
		a.clearProblem(problemReload) // what was held is no longer there
		return
	}
	a.mu.Lock()
	_, held := a.problems[problemReload] // it says the same, and why
	a.mu.Unlock()
	if held {
		a.clearProblem(problemHostOld)
		return
	}
	a.setProblem(problemHostOld, p.Message, p.Fix)
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
		a.setProblem(problemKept, err.Error(), "free or repair the disk; until then a broken host file at the next start ends the agent")
		return
	}
	a.clearProblem(problemKept)
}
