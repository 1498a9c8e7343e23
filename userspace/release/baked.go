// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/view"
)

// bakedKernel is told what is last-known-good.
type bakedKernel interface {
	view.Kernel
	SetBaked(generation uint32)
}

// bakedAt is when tellBaked told.
type bakedAt struct {
	epoch  uint32
	digest config.Digest
}

// tell tells the kernel part which generation is last-known-good: of that alone are sockets released. It looks only
// when the control word or the record has changed.
func (bk *bake) tell(d bakedKernel) {
	known, c := bk.ledger.Record().LastKnownGood, d.Control()
	seen := bakedAt{epoch: c.Epoch}
	if known != nil {
		seen.digest = known.Digest
	}
	if bk.told != nil && *bk.told == seen {
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
	bk.told = &seen
}
