// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
)

// BeatInterval is a fifth of the default lease: four beats may be late before a candidate falls back.
const BeatInterval = time.Second

// beater is what the heartbeat touches of the dataplane: words, each one aligned store.
type beater interface {
	Beat()
	Lease() loader.Deadline
	SetLease(loader.Deadline)
	SetTripped(generation uint32)
}

// Heartbeat says once a second that the agent lives, and renews the candidate's lease. It runs on a thread of its own,
// waits for nothing but its timer, takes no lock and allocates nothing.
type Heartbeat struct {
	to beater
	// number is that of the candidate; it is stored before leaseNS.
	number atomic.Uint32
	// leaseNS is how far ahead the lease is renewed; 0: there is no candidate.
	leaseNS atomic.Int64
	// until is the moment, as a loader.Deadline, that no lease may reach beyond: the candidate's own deadline.
	until atomic.Uint64
	// changes counts Hold and Release, after what they say is stored.
	changes atomic.Uint64
	// lapsed is the candidate whose lease ended although nobody meant it.
	lapsed atomic.Uint32
	// sleptNS sums up for how long this process did not run although it should have.
	sleptNS atomic.Int64
	last    atomic.Uint64 // when it last beat, as a loader.Deadline
	beats   atomic.Uint64
	wake    chan struct{} // a lease began: its pace may be faster
	stop    chan struct{}
	done    chan struct{}
}

// StartHeartbeat beats until Close.
func StartHeartbeat(to beater) *Heartbeat {
	h := &Heartbeat{to: to, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	to.Beat()
	h.last.Store(uint64(loader.Present()))
	go h.run()
	return h
}

func (h *Heartbeat) run() {
	defer close(h.done)
	// The thread ends with the goroutine, so its priority touches nobody else.
	runtime.LockOSThread()
	// beyond what its limit allows, the beat is an ordinary thread
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), rights.Nice)
	ticker := time.NewTicker(h.interval())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.beat()
			ticker.Reset(h.interval())
		case <-h.wake:
			ticker.Reset(h.interval())
		case <-h.stop:
			return
		}
	}
}

// interval is a second, or a quarter of a lease that is shorter than four seconds.
func (h *Heartbeat) interval() time.Duration {
	if lease := time.Duration(h.leaseNS.Load()); lease > 0 {
		return min(BeatInterval, lease/4)
	}
	return BeatInterval
}

// beatSlack is how late a beat may be before the time counts as slept: a busy machine is late, too.
const beatSlack = 2 * time.Second

func (h *Heartbeat) beat() {
	if late := h.age() - BeatInterval; late > beatSlack {
		h.NoteSlept(late) // before the beat is told: whoever sees it knows of this
	}
	h.last.Store(uint64(loader.Present()))
	h.to.Beat()
	h.Renew()
	h.beats.Add(1)
}

// age is for how long there was no beat.
func (h *Heartbeat) age() time.Duration {
	return time.Duration(uint64(loader.Present()) - h.last.Load())
}

// Stopped reports whether the process did not run a moment ago, and the heartbeat has not found out for how long.
func (h *Heartbeat) Stopped() bool { return h.age() > BeatInterval+beatSlack }

// Renew stores the next lease, if there is a candidate whose lease lives. It never revives a lease that ended: the
// kernel went back to stable then, and whoever comes back from a stop (SIGSTOP, a paused machine) must not bring the
// candidate back. A stop may also come between the look and the store. So the next lease is counted from the clock
// before the look, and after the store the clock is read again: if the old lease ended before the new one was there,
// the generation is tripped, and a trip is for good. (The kernel trips it by itself with the first packet that meets a
// dead lease.)
func (h *Heartbeat) Renew() {
	for {
		seen := h.changes.Load()
		lease, until := time.Duration(h.leaseNS.Load()), loader.Deadline(h.until.Load())
		number := h.number.Load()
		if lease <= 0 {
			return
		}
		now := loader.Present()
		before := h.to.Lease()
		alive := before > loader.Present()
		if alive {
			h.to.SetLease(min(now+loader.Deadline(lease), until))
			alive = before > loader.Present()
		}
		if h.changes.Load() == seen {
			if !alive && before < until {
				h.lapse(number)
			}
			return
		}
		h.store() // the lease that was stored is of before the change
	}
}

// lapse ends the authority of a candidate for good.
func (h *Heartbeat) lapse(number uint32) {
	h.to.SetTripped(number)
	h.lapsed.Store(number)
	h.leaseNS.Store(0)
}

// store writes the lease that counts now, and again when Hold or Release came between reading and writing: whichever of
// two threads writes last, the word is that of the last change.
func (h *Heartbeat) store() {
	for {
		seen := h.changes.Load()
		h.to.SetLease(h.lease())
		if h.changes.Load() == seen {
			return
		}
	}
}

// lease is the deadline of a first lease: never beyond the candidate's own, and none without a candidate.
func (h *Heartbeat) lease() loader.Deadline {
	lease, until := time.Duration(h.leaseNS.Load()), loader.Deadline(h.until.Load())
	if lease <= 0 || !until.Active() {
		return 0
	}
	return min(loader.In(lease), until)
}

// Hold starts to renew the lease of a candidate that nobody sees yet, and grants the first one before it returns.
func (h *Heartbeat) Hold(number uint32, lease time.Duration, until loader.Deadline) {
	h.begin(number, lease, until)
	h.store()
}

// GoOn starts to renew the lease of a candidate that decides already, of an agent before this one. It is false when
// that lease has ended.
func (h *Heartbeat) GoOn(number uint32, lease time.Duration, until loader.Deadline) bool {
	h.begin(number, lease, until)
	h.Renew()
	return h.lapsed.Load() != number
}

func (h *Heartbeat) begin(number uint32, lease time.Duration, until loader.Deadline) {
	h.number.Store(number)
	h.until.Store(uint64(until))
	h.leaseNS.Store(int64(lease))
	h.changes.Add(1)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Release ends the lease.
func (h *Heartbeat) Release() {
	h.leaseNS.Store(0)
	h.changes.Add(1)
	h.store()
}

// Close ends the thread. A lease that runs goes on to its own end.
func (h *Heartbeat) Close() {
	close(h.stop)
	<-h.done
}

// Lapsed is the candidate whose lease ended although nobody meant it.
func (h *Heartbeat) Lapsed() uint32 { return h.lapsed.Load() }

// NoteSlept adds to the time for which this process did not run.
func (h *Heartbeat) NoteSlept(d time.Duration) { h.sleptNS.Add(int64(d)) }

// Slept is for how long this process did not run, and nobody has taken it off a bake yet.
func (h *Heartbeat) Slept() time.Duration { return time.Duration(h.sleptNS.Load()) }

// TakeSlept is Slept, for whoever takes it off.
func (h *Heartbeat) TakeSlept() time.Duration { return time.Duration(h.sleptNS.Swap(0)) }
