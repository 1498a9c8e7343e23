// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// modes say whether this host may block: as its file says, unless that waits for a person.
type modes struct {
	*site
	disk wholeFiles
}

// comeback is the bundle that an empty kernel gets, and the mode: last-known-good; where the host only observes, and so
// blocks nobody, the one that was applied last. A host that shall enforce and has no last-known-good gets that one too,
// but observes until a person says reload: it was applied, and never proved that it harms nobody.
// A host that a person took back to observe observes until that reload, whatever comes back.
func (mo *modes) comeback() (known *state.Generation, mode bpf.Mode) {
	r, mode := mo.ledger.Record(), view.ModeOf(mo.host().MaxMode)
	if r.HeldBack {
		defer func() { mode = bpf.ModeObserve }()
	}
	enforce := mode == bpf.ModeEnforce
	if r.Applied == nil || enforce && r.LastKnownGood != nil {
		return r.LastKnownGood, mode
	}
	if err := mo.disk.Whole(r.Applied.Digest); errors.Is(err, state.ErrNoBundle) && r.LastKnownGood != nil {
		return r.LastKnownGood, mode // only a host that observes gets here
	}
	return r.Applied, bpf.ModeObserve
}

// mode is what the control word should say: that of the host file, unless it waits for a person.
func (mo *modes) mode() bpf.Mode {
	if mo.ledger.Record().ModeHeld {
		return bpf.ModeObserve
	}
	return view.ModeOf(mo.host().MaxMode)
}

// tell says that a host observes although its file says enforce.
func (mo *modes) tell() {
	r := mo.ledger.Record()
	if !r.ModeHeld || view.ModeOf(mo.host().MaxMode) != bpf.ModeEnforce {
		mo.ledger.ClearProblem(ledger.ProblemMode)
		return
	}
	why := "the bundle that came back with an empty kernel never was last-known-good"
	if r.HeldBack {
		why = "it was rolled back to observe"
	}
	mo.ledger.SetProblem(ledger.ProblemMode, "max_mode is enforce, but this host only observes: "+why,
		"look at what it would block, then: spillway reload")
}
