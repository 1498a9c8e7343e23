// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Rehearse does once what an agent does all day, with maps of one row, pinned nowhere and attached to nothing: load,
// build, read back, publish, look behind the root program. What the kernel refuses this process is found here and not
// on the first apply. Everything is gone afterwards.
func Rehearse() (err error) {
	least := config.LeastCapacity()
	least.Flows, least.Syns, least.Hellos, least.Shapes = 64, 64, 8, 64
	d, err := Open(Options{Capacity: least})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	host, err := compile.HostFile(config.DefaultHost(), nil, 1)
	if err != nil {
		return err
	}
	img, err := compile.Bundle(&config.Bundle{Version: 1, Name: "rehearsal",
		Policy: map[string]config.Policy{config.DefaultPolicy: {}}}, host, 1, Now())
	if err != nil {
		return err
	}
	hostSlot, err := d.BuildHost(host)
	if err != nil {
		return err
	}
	slot, err := d.Build(img)
	if err != nil {
		return err
	}
	if _, err := d.Publish(Change{Host: &hostSlot, Stable: &slot}); err != nil {
		return err
	}
	return d.rehearsed()
}

// rehearsed reads everything again that the agent reads.
func (d *Dataplane) rehearsed() error {
	drifts, err := d.VerifyWiring()
	for _, drift := range drifts {
		err = errors.Join(err, fmt.Errorf("%s: want %s, got %s", drift.Where, drift.Want, drift.Got))
	}
	_, err1 := d.Generations()
	_, err2 := d.Host()
	_, err3 := d.MapUse()
	_, err4 := d.Counters()
	return errors.Join(err, err1, err2, err3, err4, d.RefillPrograms())
}

// PinnedRoot returns the id of the root program that is pinned below a folder; ErrNotPinned when there is none.
func PinnedRoot(folder string) (uint32, error) {
	at := pins.Folder{Path: folder}
	p, err := ebpf.LoadPinnedProgram(at.RootProgram(), nil)
	if err != nil {
		return 0, at.ExplainMissing(bpf.RootProgSpillwayRoot, err)
	}
	defer p.Close()
	return kernel.ProgramID(p)
}
