// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
)

// beatInterval is a fifth of the default lease: four beats may be late before a candidate falls back.
const beatInterval = time.Second

// beater is what the heartbeat touches of the dataplane: words, each one aligned store.
type beater interface {
	Beat()
	SetLease(loader.Deadline)
}

// heartbeat says once a second that the agent lives, and renews the candidate's lease. It runs on a thread of its own,
// waits for nothing but its timer, takes no lock and allocates nothing.
type heartbeat struct {
	to beater
	// leaseNS is how far ahead the lease is renewed; 0: there is no candidate.
	leaseNS atomic.Int64
	// until is the moment, as a loader.Deadline, that no lease may reach beyond: the candidate's own deadline.
	until atomic.Uint64
	// changes counts hold and release, after what they say is stored.
	changes atomic.Uint64
	beats   atomic.Uint64
	wake    chan struct{} // a lease began: its pace may be faster
	stop    chan struct{}
	done    chan struct{}
}

func startHeartbeat(to beater) *heartbeat {
	h := &heartbeat{to: to, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	to.Beat()
	go h.run()
	return h
}

func (h *heartbeat) run() {
	defer close(h.done)
	// The thread ends with the goroutine, so its priority touches nobody else.
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), rights.Nice) // beyond what its limit allows, the beat is an ordinary thread
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
func (h *heartbeat) interval() time.Duration {
	if lease := time.Duration(h.leaseNS.Load()); lease > 0 {
		return min(beatInterval, lease/4)
	}
	return beatInterval
}

func (h *heartbeat) beat() {
	h.to.Beat()
	h.renew()
	h.beats.Add(1)
}

// renew stores the next lease, if there is a candidate.
func (h *heartbeat) renew() {
	if h.leaseNS.Load() > 0 {
		h.store()
	}
}

// store writes the lease that counts now, and again when hold or release came between reading and writing: whichever of
// two threads writes last, the word is that of the last change.
func (h *heartbeat) store() {
	for {
		seen := h.changes.Load()
		h.to.SetLease(h.lease())
		if h.changes.Load() == seen {
			return
		}
	}
}

// lease is the deadline of the next renewal: never beyond the candidate's own, and none without a candidate.
func (h *heartbeat) lease() loader.Deadline {
	lease, until := time.Duration(h.leaseNS.Load()), loader.Deadline(h.until.Load())
	if lease <= 0 || !until.Active() {
		return 0
	}
	return min(loader.In(lease), until)
}

// hold starts to renew a lease, and grants the first one before it returns.
func (h *heartbeat) hold(lease time.Duration, until loader.Deadline) {
	h.until.Store(uint64(until))
	h.leaseNS.Store(int64(lease))
	h.changes.Add(1)
	h.store()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// release ends the lease.
func (h *heartbeat) release() {
	h.leaseNS.Store(0)
	h.changes.Add(1)
	h.store()
}

// close ends the thread. A lease that runs goes on to its own end.
func (h *heartbeat) close() {
	close(h.stop)
	<-h.done
}
