// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/view"
)

// CodeCapacity is the problem of a capacity below what is in force.
const CodeCapacity = "capacity_too_small"

// Kernel is what takes room in the kernel.
type Kernel interface {
	Control() loader.Control
	Generations() ([]loader.GenerationInfo, error)
	Bans() ([]loader.Ban, error)
}

// TooSmall says what is in force and has no room in a capacity.
func TooSmall(k Kernel, c config.Capacity) []string {
	all, err := k.Generations()
	if err != nil {
		return nil
	}
	bans, err := k.Bans()
	if err != nil {
		return nil
	}
	g, _ := view.InSlot(all, k.Control().Stable)
	return loader.TooSmall(c.OrDefault(), g.Rows, len(bans))
}

// tellCapacity says before the reboot that makes it real that a capacity was lowered too far: the bundle in force could
// not be built again, and everything would pass. The file on disk is what a reboot reads.
func (f *InForce) tellCapacity(k Kernel, differs bool) {
	c, where := f.Host().Capacity, "the host file"
	if differs {
		if f, err := Read(f.Path); err == nil {
			c, where = f.Host.Capacity, "the host file on disk"
		}
	}
	small := TooSmall(k, c)
	if len(small) == 0 {
		f.Problems.ClearProblem(CodeCapacity)
		return
	}
	f.Problems.SetProblem(CodeCapacity,
		"after the next reboot what is in force cannot be built again, and everything passes: "+where+
			" has too little room: "+strings.Join(small, "; "),
		"raise it there, or apply a smaller bundle")
}
