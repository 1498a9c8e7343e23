// SPDX-License-Identifier: Apache-2.0

package view

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// InSlot returns the generation of a slot.
func InSlot(all []loader.GenerationInfo, slot uint8) (loader.GenerationInfo, bool) {
	for _, g := range all {
		if g.Slot == slot && slot != bpf.SlotEmpty {
			return g, true
		}
	}
	return loader.GenerationInfo{}, false
}

// ModeOf is the kernel's number of a mode of the host file.
func ModeOf(m config.Mode) bpf.Mode {
	if m == config.ModeEnforce {
		return bpf.ModeEnforce
	}
	return bpf.ModeObserve
}
