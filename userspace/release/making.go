// SPDX-License-Identifier: Apache-2.0

package release

import (
	"net/netip"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/state"
)

// Making is a generation that somebody else builds in the place of this process.
type Making struct {
	Kernel Kernel // as long as the making takes
	Order  *Order
	Set    config.Digest // it lies on disk
	Number uint32
	On     uint32 // what is stable; 0: nothing
	Host   *hostfile.File
	Own    []netip.Addr // addresses of this host
	Clock  compile.Clock
	Beside []uint8 // slots that must stay
}

// Make is Build by somebody else: make puts the generation into a slot, and says what was compiled. The change lock is
// held for as long as that takes.
func (sh *Stagehand) Make(o *Order, make func(Making) (state.Compiled, error)) (*Built, error) {
	return sh.build(o, func(d Kernel, s *standing) (uint32, error) {
		number, err := sh.builder.nextNumber(d)
		if err != nil {
			return 0, err
		}
		own, err := sh.builder.own()
		if err != nil {
			return 0, err // without them a bundle could block this host
		}
		beside, err := sh.builder.stay(d)
		if err != nil {
			return 0, err
		}
		on := uint32(0)
		if s.there {
			on = s.stable.Number
		}
		sh.builder.count(d)
		made, err := make(Making{Kernel: d, Order: o, Set: s.next.Digest, Number: number, On: on, Host: sh.file(), Own: own,
			Clock: sh.builder.clock(), Beside: beside})
		if err != nil {
			return 0, err
		}
		sh.ledger.EnsureKnown(s.next.Digest)
		sh.builder.note(d, made)
		return number, nil
	})
}
