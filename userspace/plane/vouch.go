// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"time"

	"github.com/spillway/spillway/loader"
)

// sweepInterval is how often ended vouches are looked for: there may be many, and an ended one only takes a place.
const sweepInterval = 10 * time.Second

// SweepVouched gives the places of ended vouches back. The first sweep of an agent also mends what a crash left between
// a vouch and the word that packets compare.
func (pl *Plane) SweepVouched(d Kernel) {
	if pl.Ledger.Now().Sub(pl.lastSweep).Abs() < sweepInterval {
		return
	}
	pl.lastSweep = pl.Ledger.Now()
	if _, err := d.SweepVouched(); err != nil && !errors.Is(err, loader.ErrNotPinned) {
		pl.Log.Warn("ended vouches stay in the kernel, without effect", "error", err)
	}
}
