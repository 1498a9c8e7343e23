// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/view"
)

// problemCapacity is a capacity below what is in force.
const problemCapacity = "capacity_too_small"

// tooSmall says what is in force and has no room in a capacity.
func (a *agent) tooSmall(d plane.Dataplane, c config.Capacity) []string {
	all, err := d.Generations()
	if err != nil {
		return nil
	}
	bans, err := d.Bans()
	if err != nil {
		return nil
	}
	g, _ := view.InSlot(all, d.Control().Stable)
	return loader.TooSmall(c.OrDefault(), g.Rows, len(bans))
}

// tellCapacity says before the reboot that makes it real that a capacity was lowered too far: the bundle in force could
// not be built again, and everything would pass. The file on disk is what a reboot reads.
func (a *agent) tellCapacity(d plane.Dataplane, differs bool) {
	c, where := a.hostFile().Capacity, "the host file"
	if differs {
		if f, err := hostfile.Read(a.opts.HostPath); err == nil {
			c, where = f.Host.Capacity, "the host file on disk"
		}
	}
	small := a.tooSmall(d, c)
	if len(small) == 0 {
		a.ledger.ClearProblem(problemCapacity)
		return
	}
	a.ledger.SetProblem(problemCapacity, "after the next reboot what is in force cannot be built again, and everything passes: "+where+" has too little room: "+strings.Join(small, "; "),
		"raise it there, or apply a smaller bundle")
}
