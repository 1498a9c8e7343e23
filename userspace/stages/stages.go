// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/pulse"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// Hand does what the engine asks for, so that a repetition changes nothing: *release.Stagehand, or what stands for it.
type Hand interface {
	Look() (rollout.Kernel, []loader.GenerationInfo)
	Publish(number, on uint32, share uint16) error
	Share(number uint32, share uint16) error
	Lease(number uint32) error
	Promote(p release.Promotion) error
	TakeBack(number, to uint32, why string) error
	KnownGood(number uint32) error
	EndTrials(on []uint32)
	Beside(number, on uint32) error
	Compare(want release.Comparing) error
	Counts() (all [loader.Lanes]loader.LaneCounts, known bool)
}

// Taster builds what an order makes of what is stable, aside, and tries it. busy: somebody else changes something, and
// it is asked again.
type Taster interface {
	Taste(o *release.Order, attempt int) (t rollout.Taste, busy bool)
}

// Disk keeps what must survive a restart.
type Disk interface {
	SaveStages(content any) error
	Stages(into any) (found bool, err error)
}

// Options of New. All are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	Disk   Disk
	Hand   func() Hand
	Taster func() Taster
	// Guards are those of the host file in force; on says whether it asks for stages.
	Guards func() (g rollout.Guards, on bool)
	Health func() rollout.Health
	// Clock is a clock that only grows while the machine runs.
	Clock func() time.Duration
	Spawn func(func())
}

// Stages holds where the rollouts are.
type Stages struct {
	Options
	wake chan struct{}

	mu     sync.Mutex // of one look; above those of the rooms below
	memory memory
	disk   onDisk
	tastes tastes // has a lock of its own

	around around // has a lock of its own
	told   told   // has a lock of its own
}

// New takes up what a former agent left.
func New(o Options) *Stages {
	st := &Stages{Options: o, wake: make(chan struct{}, 1)}
	st.around.built = st.tastes.built
	st.tastes.running, st.tastes.asked = map[attempt]bool{}, map[attempt]time.Duration{}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.load() {
		st.show(rollout.Kernel{}, rollout.Evidence{}) // until the first look nobody is told that there is nothing
	}
	st.tellAround()
	return st
}

// restEvery is how many seconds lie between two looks while nothing rolls out or waits. What begins then looks at once.
const restEvery = 5

// Run looks once a second until ctx ends.
func (st *Stages) Run(ctx context.Context) {
	ticker := pulse.Every(time.Second)
	defer ticker.Stop()
	for rested := restEvery; ; {
		if rested++; rested >= restEvery || !st.rests() {
			rested = 0
			st.Look()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-st.wake:
			rested = restEvery
		}
	}
}

// rests reports whether the next look could find nothing but what somebody else did.
func (st *Stages) rests() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.memory.State.Rests() && !st.disk.dirty && !st.tastes.any()
}

// hurry has Run look at once.
func (st *Stages) hurry() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}
