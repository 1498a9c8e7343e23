// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/bans"
	"github.com/spillway/spillway/userspace/bypass"
	"github.com/spillway/spillway/userspace/events"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/silent"
	"github.com/spillway/spillway/userspace/view"
)

// dataplane is the real handle, or what stands for it in a test: of it each room sees what its own interface says.
// hostfile's is among them.
type dataplane interface {
	view.Kernel
	view.Tables
	plane.Kernel
	release.Successor
	bans.Kernel
	bypass.Kernel
	silent.Kernel
	events.Ring
	metrics.Kernel
	Warnings() []string
	Released() (uint64, error)
}

// openDataplane opens what is pinned, or pins it.
func openDataplane(o loader.Options) (dataplane, error) {
	d, err := loader.Open(o)
	if err != nil {
		return nil, err // never a nil *loader.Dataplane in a dataplane
	}
	return d, nil
}

// use returns the dataplane and a function that gives it back: plane.Use, whose rules hold.
func (a *agent) use() (dataplane, func(), error) {
	k, done, err := a.plane.Use()
	if err != nil {
		return nil, nil, err
	}
	return k.(dataplane), done, nil // Install was given no other
}
