// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// Wiring is what Links look at and mend.
type Wiring interface {
	Attachments() ([]loader.Attachment, error)
	Linked() ([]loader.Attachment, error)
	VerifyWiring() ([]compile.Drift, error)
	VerifyDeciding() ([]compile.Drift, error)
	Attach(name string, mode config.Attach) (loader.Attachment, error)
	DetachInterface(name string) error
	SyncEgress(interfaces []string) error
	SetFresh(interfaces []string) error
	RefillPrograms() error
	Repin() (int, error)
}

// Slots are what Rows tell and compare.
type Slots interface {
	Control() loader.Control
	Host() (*compile.HostInfo, error)
	Generations() ([]loader.GenerationInfo, error)
	RuleHits(slot uint8) (map[uint16]uint64, error)
	VerifyGeneration(slot uint8, img *compile.Image) ([]compile.Drift, error)
	SumGeneration(slot uint8) (compile.Sums, error)
	VerifyHost(*compile.HostImage) ([]compile.Drift, error)
	VerifyVouched() ([]compile.Drift, error)
}

// Kernel is the handle: those, and what lives as long as it does. What other rooms need of it, they say themselves.
type Kernel interface {
	Wiring
	Slots
	beater
	Counters() ([]loader.Counter, error)
	SweepVouched() (int, error)
	Close() error
}
