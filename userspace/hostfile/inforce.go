// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"path/filepath"
	"sync"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// problems are what an agent tells of itself.
type problems interface {
	SetProblem(code, message, fix string)
	ClearProblem(code string)
	Problem(code string) (api.Problem, bool)
}

// keeper keeps a host file for a start at which the one on disk is broken.
type keeper interface {
	SaveHost(path string, text []byte) error
}

// Options of New. All are needed.
type Options struct {
	Problems problems
	Keeper   keeper
	Path     string // where the next one is read
}

// InForce is the host file of a running agent.
type InForce struct {
	Options
	mu   sync.Mutex // held for a moment, and nothing is called under it
	file *File
	disk Watch // of the one on disk
}

// New has a first file in force, or one that shall be.
func New(o Options, first *File) *InForce { return &InForce{Options: o, file: first} }

// File returns the host file in force.
func (f *InForce) File() *File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file
}

// Host is what it says.
func (f *InForce) Host() *config.Host { return f.File().Host }

// Put takes another one for the one in force. Whoever calls it published it.
func (f *InForce) Put(next *File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.file = next
}

// Look compares the host file on disk with the one in force, and says so where they differ: somebody edited it and
// believes that it counts. k is nil where nobody can have the dataplane.
func (f *InForce) Look(k Kernel) {
	p := f.disk.Look(f.Path, f.File().Digest)
	if k != nil {
		f.tellCapacity(k, p != nil)
	}
	if p == nil {
		f.Problems.ClearProblem(CodeNotInForce)
		f.Problems.ClearProblem(ledger.ProblemReload) // what was held is no longer there
		return
	}
	if _, held := f.Problems.Problem(ledger.ProblemReload); held { // it says the same, and why
		f.Problems.ClearProblem(CodeNotInForce)
		return
	}
	f.Problems.SetProblem(p.Code, p.Message, p.Fix)
}

// Keep keeps the host file that is in force in the state folder: an agent that finds a broken one at its start goes on
// with it.
func (f *InForce) Keep() {
	file := f.File()
	if file.Text == nil {
		return
	}
	path, err := filepath.Abs(f.Path)
	if err == nil {
		err = f.Keeper.SaveHost(path, file.Text)
	}
	if err != nil {
		f.Problems.SetProblem(ledger.ProblemKept, err.Error(),
			"free or repair the disk; until then a broken host file at the next start ends the agent")
		return
	}
	f.Problems.ClearProblem(ledger.ProblemKept)
}

// KeepAgain is Keep where the disk refused it before.
func (f *InForce) KeepAgain() {
	if _, refused := f.Problems.Problem(ledger.ProblemKept); refused {
		f.Keep()
	}
}
