// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/hostfile"
)

// TrySettle ends what has a deadline, unless a change runs; around is done with it.
func (mg *Manager) TrySettle(d Kernel, before, after func()) {
	if !mg.change.TryLock() {
		return
	}
	defer mg.change.Unlock()
	before()
	mg.settler.settle(d)
	after()
}

// Adopt makes record and word agree when an agent starts: the kernel is right, but a candidate whose lease is dead
// goes. away is for how long no agent lived. An error says that the kernel refused, and that it must be tried again.
// The change lock is held.
func (mg *Manager) Adopt(d Kernel, away time.Duration) error { return mg.settler.adopt(d, away) }

// ExpiriesDue reports whether RenewExpiries is.
func (mg *Manager) ExpiriesDue() bool { return mg.clock.due() }

// RenewExpiries compiles the stable bundle again, if it still must be. It is a job.
func (mg *Manager) RenewExpiries(d Kernel) { mg.clock.renew(d) }

// QueueDue reports whether something waits whose turn it is.
func (mg *Manager) QueueDue() bool {
	next, _ := mg.queue.runnable()
	return next != nil
}

// RunQueue carries out what waits and may run. It is a job.
func (mg *Manager) RunQueue() { mg.queue.run() }

// PublishFromDisk fills an empty kernel: the host file, and the bundle that comes back. Without one, everything passes.
func (mg *Manager) PublishFromDisk(d Kernel, again bool) error { return mg.hosts.fromDisk(d, again) }

// AdoptHost leaves the published host file alone when it is what the file on disk says, and publishes that otherwise:
// somebody edited the file while no agent ran.
func (mg *Manager) AdoptHost(d Kernel) error { return mg.hosts.adopt(d) }

// PublishHost publishes a host file with all that is built for it, in one step. Where a rollout goes on a stage
// meanwhile it is built again: nobody meant anything against the file.
func (mg *Manager) PublishHost(d Kernel, file *hostfile.File, mode bpf.Mode) (detail []string, err error) {
	for range 3 {
		if detail, err = mg.hosts.publish(d, file, mode); !errors.Is(err, errMoved) {
			break
		}
	}
	return detail, err
}

// TakeOver fills a dataplane that was made beside one of another layout, and puts it in force. Meanwhile the caller
// says that an agent lives: what decides must not take it for dead. Of what starts died of (nil: nothing) nothing is
// read or built: LeaveCondemned comes next.
func (mg *Manager) TakeOver(d Successor, left *Condemned) error {
	mg.change.Lock()
	defer mg.change.Unlock()
	return mg.upgrade.takeOver(d, left)
}
