// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"

	"github.com/spillway/spillway/loader"
)

// sweepVouched gives the places of ended vouches back. The first sweep of an agent also mends what a crash left between a
// vouch and the word that packets compare.
func (a *agent) sweepVouched(d dataplane) {
	if a.now().Sub(a.lastSweep).Abs() < sweepInterval {
		return
	}
	a.lastSweep = a.now()
	if _, err := d.SweepVouched(); err != nil && !errors.Is(err, loader.ErrNotPinned) {
		a.log.Warn("ended vouches stay in the kernel, without effect", "error", err)
	}
}
