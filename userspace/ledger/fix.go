// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/rights"
)

// Fix says how a person mends what the loader reports.
func Fix(err error) string {
	var foreign *pins.ForeignError
	switch {
	case errors.Is(err, pins.ErrOwned):
		return fixOfOwner(err)
	case errors.As(err, &foreign) && foreign.Newer():
		return "start the later version again, or `spillway detach` and start this one: traffic passes unprotected in between; `spillway bypass on` works at any time"
	case errors.Is(err, loader.ErrForeignABI):
		return "run `spillway detach`, then start the agent again: traffic passes unprotected in between"
	case errors.Is(err, pins.ErrRemoved):
		return "systemctl restart spillway: the unit makes the folder again, and last-known-good comes from the disk"
	case errors.Is(err, pins.ErrForeignPins):
		return "look whose it is, remove it as root, and start the agent again"
	case errors.Is(err, loader.ErrForeignProgram):
		return "remove the other XDP program, or take the interface out of the host file; Spillway never replaces it"
	case errors.Is(err, loader.ErrNoMAC):
		return loader.FixWithoutMAC
	case errors.Is(err, loader.ErrNoDevice):
		return "it is attached as soon as the interface appears; correct its name in the host file if it never will"
	case errors.Is(err, loader.ErrPermission):
		return "run the agent as root, or as its unit does, with " + rights.Sentence()
	case errors.Is(err, loader.ErrStale):
		return "nothing: the agent starts itself in a new process"
	case errors.Is(err, loader.ErrCapacity):
		return "raise the capacity in the host file and restart the agent, or make the bundle smaller"
	}
	return "`spillway doctor` says what is missing"
}

// fixOfOwner says what to do about two agents.
func fixOfOwner(err error) string {
	var owned *pins.OwnedError
	if errors.As(err, &owned) && owned.PID != 0 {
		return fmt.Sprintf("stop one of the two (`ps -fp %d` shows the other), or give them pin folders and interfaces of their own (paths.pins)",
			owned.PID)
	}
	return "stop one of the two, or give them pin folders and interfaces of their own (paths.pins)"
}
