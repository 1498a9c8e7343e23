// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Reading is what view judges by.
func (pl *Plane) Reading(k view.Kernel) view.Reading {
	return pl.withAttach(view.Read(k, pl.Network, pl.InterfaceNames()))
}

// Verdict is what the kernel's state means now.
func (pl *Plane) Verdict(k view.Kernel) view.Verdict { return view.Judge(pl.Reading(k)) }

// Blind is the reading while no dataplane could be opened.
func (pl *Plane) Blind() view.Reading {
	if r, ok := pl.behindReading(); ok {
		return pl.withAttach(r)
	}
	return pl.withAttach(view.Blind(pl.Network, pl.InterfaceNames()))
}

func (pl *Plane) InterfaceNames() []string {
	var names []string
	for _, i := range pl.Host().Interfaces {
		names = append(names, i.Name)
	}
	return names
}

// withAttach adds why the agent could not attach.
func (pl *Plane) withAttach(r view.Reading) view.Reading {
	r.Attach = map[string]api.Problem{}
	pl.withCounted(&r)
	pl.places.mu.Lock()
	defer pl.places.mu.Unlock()
	for name, p := range pl.places.all {
		if p.problem != nil {
			r.Attach[name] = *p.problem
		}
	}
	return r
}
