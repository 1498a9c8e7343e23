// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"net/netip"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/userspace/view"
)

// Kernel is what can be read of a dataplane: what view judges by, and what is only told.
type Kernel interface {
	view.Kernel
	view.Tables
}

// Dataplane is what the agent needs beside: *loader.Dataplane, or what stands for it in a test.
type Dataplane interface {
	Kernel
	Close() error
	Warnings() []string
	Predecessor() *migrate.Predecessor
	CarryOver() error
	TakeOver() error
	Attach(name string, mode config.Attach) (loader.Attachment, error)
	DetachInterface(name string) error
	Build(img *loader.Image, beside ...uint8) (uint8, error)
	BuildHost(*loader.HostImage) (uint8, error)
	Publish(loader.Change) (loader.Control, error)
	Promote() (loader.Control, error)
	Withdraw() (loader.Control, error)
	DropGenerations() (loader.Control, error)
	NextNumber() (uint32, error)
	SetBypass(loader.Deadline)
	SetServiceBypass(id uint8, until loader.Deadline)
	Beat()
	SetLease(loader.Deadline)
	SetTripped(generation uint32)
	SetTellAll(loader.Deadline)
	Ban(netip.Prefix, time.Duration) error
	Unban(netip.Prefix) (bool, error)
	SweepBans() (int, error)
	BanEpoch() uint64
	RestoreBans(left map[netip.Prefix]time.Duration) error
	SettleBans() error
	SweepVouched() (int, error)
	SyncEgress(interfaces []string) error
	SetBaked(generation uint32)
	Baked() uint32
	Released() (uint64, error)
	BlockedFlows(w *loader.FlowWalk, rows int, to []loader.BlockedFlow) ([]loader.BlockedFlow, bool, error)
	StillBlocked(loader.BlockedFlow) (bool, error)
	RuleHits(slot uint8) (map[uint16]uint64, error)
	Events(context.Context, func(bpf.Event)) error
	VerifyGeneration(slot uint8, img *loader.Image) ([]loader.Drift, error)
	SumGeneration(slot uint8) (loader.Sums, error)
	VerifyHost(*loader.HostImage) ([]loader.Drift, error)
	VerifyVouched() ([]loader.Drift, error)
	RefillPrograms() error
	Repin() (int, error)
}

var _ Dataplane = (*loader.Dataplane)(nil)
