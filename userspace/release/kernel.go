// SPDX-License-Identifier: Apache-2.0

package release

import (
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/view"
)

// slots are where generations and host files are built, aside.
type slots interface {
	view.Kernel
	Build(img *compile.Image, beside ...uint8) (uint8, error)
	BuildHost(*compile.HostImage) (uint8, error)
	NextNumber() (uint32, error)
}

// word is what decides which of them count.
type word interface {
	view.Kernel
	Publish(loader.Change) (loader.Control, error)
	DropGenerations() (loader.Control, error)
}

// trial is a candidate's place in the kernel.
type trial interface {
	word
	Promote() (loader.Control, error)
	Withdraw() (loader.Control, error)
	SetTripped(generation uint32)
}

// lanes are what the kernel compares, generation by generation.
type lanes interface {
	Compare(loader.Lane, loader.Comparison) error
	Stop(loader.Lane) error
	Running(loader.Lane) (loader.Comparison, bool)
	Counts(loader.Lane) (loader.LaneCounts, error)
	SetBeside(slot uint8) error
	Beside() uint8
}

// Kernel is what is needed of the kernel part by all.
type Kernel interface {
	slots
	trial
	lanes
	VerifyHost(*compile.HostImage) ([]compile.Drift, error)
	SetBaked(generation uint32)
}

// Lease is the heartbeat's hold of a candidate.
type Lease interface {
	Hold(number uint32, lease time.Duration, until loader.Deadline)
	GoOn(number uint32, lease time.Duration, until loader.Deadline) bool
	Renew()
	Release()
	Lapsed() uint32
	Stopped() bool
	Slept() time.Duration
	TakeSlept() time.Duration
}
