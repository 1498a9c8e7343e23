// SPDX-License-Identifier: Apache-2.0

package releasetest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
)

// Lane is what the kernel compares, and what it counted.
type Lane struct {
	On     bool
	To     loader.Comparison
	Counts loader.LaneCounts

	votes   map[netip.Prefix]pair // of the run
	arms    map[netip.Prefix]arm
	budget  budget
	traffic [2]int64 // connections of this window, and of the one before
}

// pair is a kind of difference, the stronger the larger.
type pair int

const (
	bothPass pair = 1 + iota
	bothBlock
	newPass
	newBlock
)

// arm is what is known of a source.
type arm struct{ source, bad, tainted bool }

// budget is what was charged in a window.
type budget struct {
	charged map[netip.Prefix]bool
	n       int64
}

// Compare has a lane compare two generations.
func (k *Kernel) Compare(lane loader.Lane, to loader.Comparison) error {
	if err := k.Touch(k.Trouble.Kernel, unix.EAGAIN); err != nil {
		return err
	}
	for _, number := range []uint32{to.Old, to.New} {
		if number != 0 && !k.resident(number) {
			return fmt.Errorf("generation %d is not resident", number)
		}
	}
	l := &k.Lanes[lane]
	if l.To.Run != to.Run {
		*l = Lane{traffic: l.traffic}
	}
	if l.To.New != to.New {
		l.Counts, l.budget = loader.LaneCounts{New: to.New, Arms: l.Counts.Arms}, budget{}
	}
	l.On, l.To = true, to
	return nil
}

// Stop has a lane compare nothing; what it counted stays.
func (k *Kernel) Stop(lane loader.Lane) error {
	k.Lanes[lane].On = false
	return k.Touch(k.Trouble.Kernel, unix.EAGAIN)
}

// Running is what a lane compares.
func (k *Kernel) Running(lane loader.Lane) (loader.Comparison, bool) {
	return k.Lanes[lane].To, k.Lanes[lane].On
}

// Counts are what a lane has counted.
func (k *Kernel) Counts(lane loader.Lane) (loader.LaneCounts, error) {
	c := k.Lanes[lane].Counts
	c.Pairs, c.Blame, c.Hits = slices.Clone(c.Pairs), slices.Clone(c.Blame), slices.Clone(c.Hits)
	slices.SortFunc(c.Pairs, func(a, b loader.Pair) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(a.Rule, b.Rule))
	})
	slices.SortFunc(c.Blame, func(a, b loader.RuleVotes) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(a.Rule, b.Rule))
	})
	return c, k.Touch(k.Trouble.Kernel, unix.EAGAIN)
}

// Window begins the next window of the budget.
func (k *Kernel) Window() {
	for i := range k.Lanes {
		l := &k.Lanes[i]
		l.traffic = [2]int64{0, l.traffic[0]}
		l.budget = budget{}
	}
}

func (k *Kernel) resident(number uint32) bool {
	for slot := range k.Images {
		if number != 0 && k.Number(uint8(slot)) == number {
			return true
		}
	}
	return false
}

// compares reports whether a lane compares something now: both are in slots still.
func (k *Kernel) compares(l *Lane) bool {
	return l.On && k.resident(l.To.New) && (l.To.Old == 0 || k.resident(l.To.Old))
}
