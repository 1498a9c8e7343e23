// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/folder"
	"github.com/spillway/spillway/userspace/ledger"
)

// Ownership is the right to change what is pinned: *loader.Ownership, or what stands for it in a test.
type Ownership interface {
	Holds() bool
	Close() error
}

// OwnPins locks the pins. Beside root and this process, who owns the state folder may own them: the agent's user, when
// root runs the agent by hand.
func OwnPins(at, state string) (Ownership, error) {
	var users []int
	if owner, err := folder.Owner(state); err == nil {
		users = append(users, owner)
	}
	o, err := pins.Own(at, users...)
	if err != nil {
		return nil, err // never a nil *pins.Ownership in an Ownership
	}
	return o, nil
}

// Own makes sure that the pins are this agent's before it changes anything there. Two agents on one pin folder would
// each detach what the other attaches, and most cards reset their rings each time. The state's and the socket's lock do
// not see an agent with another state and another socket. A folder that was removed or moved aside is taken again.
func (pl *Plane) Own() error {
	if pl.pins != nil && pl.pins.Holds() {
		return nil
	}
	o, err := pl.Owner(pl.Host().Paths.Pins)
	if err != nil {
		return err
	}
	pl.Disown()
	pl.pins = o
	return nil
}

// Owns reports whether the pins are this agent's, and tells when they no longer are.
func (pl *Plane) Owns() bool {
	err := pl.Own()
	if err != nil {
		pl.Ledger.SetProblem(ledger.ProblemOwner,
			"the pins are no longer this agent's, so it repairs and attaches nothing: "+err.Error(), ledger.Fix(err))
		return false
	}
	pl.Ledger.ClearProblem(ledger.ProblemOwner)
	return true
}

// Disown gives the pins up.
func (pl *Plane) Disown() {
	if pl.pins != nil {
		_ = pl.pins.Close()
		pl.pins = nil
	}
}
