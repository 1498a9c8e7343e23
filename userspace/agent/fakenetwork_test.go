// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/spillway/spillway/loader"
)

// fakeNetwork is what netlink says: a device has the root program where the machine has a link.
type fakeNetwork struct {
	*machine
	devices *map[string]int // indexes by name, 0 for no such device; those not named have fakeIndex
}

func (n fakeNetwork) DeviceByName(name string) (loader.Device, error) {
	index := indexOf(name)
	if n.devices != nil {
		if i, ok := (*n.devices)[name]; ok {
			index = i
		}
	}
	if index == 0 {
		return loader.Device{}, fmt.Errorf("look at %s: %w", name, loader.ErrNoDevice)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	d := loader.Device{Name: name, Index: index}
	if id := n.onCard[name]; id != 0 {
		d.Programs = []loader.DeviceProgram{{ID: id, Mode: "native"}}
	} else if n.links[name] == loader.StateAttached && index == indexOf(name) {
		d.Programs = []loader.DeviceProgram{{ID: fakeRoot, Mode: "native"}}
	}
	return d, n.fail["Devices"]
}

// DeviceByIndex finds a device that was renamed: its name is that of its index.
func (n fakeNetwork) DeviceByIndex(index int) (loader.Device, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if index != fakeIndex || n.renamed == "" {
		return loader.Device{}, fmt.Errorf("look at the device with index %d: %w", index, loader.ErrNoDevice)
	}
	return loader.Device{Name: n.renamed, Index: index,
		Programs: []loader.DeviceProgram{{ID: fakeRoot, Mode: "native"}}}, nil
}
