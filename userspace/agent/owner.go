// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/folder"
	"github.com/spillway/spillway/userspace/ledger"
)

// ownership is the right to change what is pinned: *loader.Ownership, or what stands for it in a test.
type ownership interface {
	Holds() bool
	Close() error
}

// ownPins locks the pins. Beside root and this process, who owns the state folder may own them: the agent's user, when
// root runs the agent by hand.
func ownPins(pins, state string) (ownership, error) {
	var users []int
	if owner, err := folder.Owner(state); err == nil {
		users = append(users, owner)
	}
	o, err := loader.Own(pins, users...)
	if err != nil {
		return nil, err // never a nil *loader.Ownership in an ownership
	}
	return o, nil
}

// ownPins makes sure that the pins are this agent's before it changes anything there. Two agents on one pin folder would
// each detach what the other attaches, and most cards reset their rings each time. The state's and the socket's lock do
// not see an agent with another state and another socket. A folder that was removed or moved aside is taken again.
func (a *agent) ownPins() error {
	if a.pins != nil && a.pins.Holds() {
		return nil
	}
	o, err := a.opts.owner(a.hostFile().Paths.Pins)
	if err != nil {
		return err
	}
	a.disownPins()
	a.pins = o
	return nil
}

// owns reports whether the pins are this agent's, and tells when they no longer are.
func (a *agent) owns() bool {
	err := a.ownPins()
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemOwner, "the pins are no longer this agent's, so it repairs and attaches nothing: "+err.Error(), ledger.Fix(err))
		return false
	}
	a.ledger.ClearProblem(ledger.ProblemOwner)
	return true
}

func (a *agent) disownPins() {
	if a.pins != nil {
		_ = a.pins.Close()
		a.pins = nil
	}
}
