// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/view"
)

// bakedAt is when tellBaked told.
type bakedAt struct {
	epoch  uint32
	digest config.Digest
}

// tellBaked tells the kernel part which generation is last-known-good: of that alone are sockets released. It looks only when
// the control word or the record has changed.
func (mg *Manager) tellBaked(d Kernel) {
	known, c := mg.Ledger.Record().LastKnownGood, d.Control()
	seen := bakedAt{epoch: c.Epoch}
	if known != nil {
		seen.digest = known.Digest
	}
	if mg.settled.baked == seen && mg.settled.bakedTold {
		return
	}
	all, err := d.Generations()
	if err != nil {
		return
	}
	number := uint32(0)
	if g, ok := view.InSlot(all, c.Stable); ok && known != nil && g.Digest == known.Digest {
		number = g.Number
	}
	d.SetBaked(number)
	mg.settled.baked, mg.settled.bakedTold = seen, true
}
