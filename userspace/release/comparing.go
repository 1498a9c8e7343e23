// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// Beside makes a generation the second candidate, which decides for nobody.
func (sh *Stagehand) Beside(number, on uint32) error {
	return sh.deed(true, func(d Kernel, all []loader.GenerationInfo) error {
		g, there := numbered(all, number)
		switch {
		case !there || numberIn(all, d.Control().Stable) != on:
			return errElsewhere
		case d.Beside() == g.Slot:
			return nil
		}
		return d.SetBeside(g.Slot)
	})
}

// Comparing is what the lanes shall compare, and whether what decides is held to its budget.
type Comparing struct {
	Lanes  [loader.Lanes]loader.Comparison // with Run 0 a lane compares nothing
	Budget bool
	Joins  uint32 // the main lane's New from the moment on that it is stable: it bakes with what it relaxed
}

// lane is what one shall compare while this is stable.
func (c *Comparing) lane(lane loader.Lane, stable uint32) loader.Comparison {
	to := c.Lanes[lane]
	if lane == loader.LaneMain && to.Run != 0 && c.Joins != 0 && c.Joins == stable {
		to.New = c.Joins
	}
	return to
}

// any reports whether a lane compares something.
func (c *Comparing) any() bool {
	for _, l := range c.Lanes {
		if l.Run != 0 {
			return true
		}
	}
	return false
}

// Compare has the lanes compare what they shall.
func (sh *Stagehand) Compare(want Comparing) error {
	return sh.deed(false, func(d Kernel, all []loader.GenerationInfo) error {
		var faults []error
		stable := numberIn(all, d.Control().Stable)
		for lane := range loader.Lanes {
			to := want.lane(lane, stable)
			now, running := d.Running(lane)
			switch {
			case to.Run == 0 && running:
				faults = append(faults, d.Stop(lane))
			case to.Run != 0 && (!running || now != to):
				faults = append(faults, d.Compare(lane, to))
			}
		}
		c, pair, budget := d.Control(), want.any() || want.Budget, want.Budget
		if c.Pair != pair || c.Budget != budget {
			_, err := d.Publish(loader.Change{Pair: &pair, Budget: &budget, Seen: &c.Epoch})
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	})
}

// Counts are what the lanes have counted; false: they cannot be read.
func (sh *Stagehand) Counts() (all [loader.Lanes]loader.LaneCounts, known bool) {
	d, done, err := sh.use()
	if err != nil {
		return all, false
	}
	defer done()
	if d.Control().Host == bpf.SlotEmpty {
		return all, false
	}
	for lane := range loader.Lanes {
		if all[lane], err = d.Counts(lane); err != nil {
			return [loader.Lanes]loader.LaneCounts{}, false
		}
	}
	return all, true
}
