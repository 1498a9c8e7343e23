// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/userspace/view"
)

// Reading is what view judges by.
func (pl *Plane) Reading(k view.Kernel) view.Reading {
	return pl.withAttach(view.Read(k, pl.Network, pl.interfaceNames()))
}

// Verdict is what the kernel's state means now.
func (pl *Plane) Verdict(k view.Kernel) view.Verdict { return view.Judge(pl.Reading(k)) }

// Blind is the reading while no dataplane could be opened.
func (pl *Plane) Blind() view.Reading {
	if r, ok := pl.behindReading(); ok {
		return pl.withAttach(r)
	}
	return pl.withAttach(view.Blind(pl.Network, pl.interfaceNames()))
}

// withAttach adds why the agent could not attach.
func (pl *Plane) withAttach(r view.Reading) view.Reading {
	r.Attach = pl.Links.problems()
	pl.withCounted(&r)
	return r
}
