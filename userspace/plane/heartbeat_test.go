// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
)

// The lease must never reach beyond the candidate's own deadline, even if nothing but the heartbeat lives.
func TestLeaseEndsWithTheDeadline(t *testing.T) {
	w := &words{}
	h := StartHeartbeat(w)
	h.Hold(7, time.Hour, loader.In(time.Minute))
	if left := w.Lease().Left(); left > time.Minute {
		t.Errorf("lease of %v beyond a deadline in a minute", left)
	}
	h.until.Store(uint64(loader.In(0)))
	w.SetLease(0)
	h.beat()
	if w.Lease() != 0 {
		t.Error("a lease after the deadline")
	}
	h.Close()
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	w := &words{}
	h := StartHeartbeat(w)
	h.Close()
	h.Hold(7, time.Second, loader.In(time.Hour))
	if n := testing.AllocsPerRun(100, h.beat); n != 0 {
		t.Errorf("%v allocations a beat", n)
	}
}

// A heartbeat must keep up with the shortest lease that the host file allows.
func TestHeartbeatKeepsAShortLease(t *testing.T) {
	w := &words{}
	h := StartHeartbeat(w)
	defer h.Close()
	h.Hold(7, 500*time.Millisecond, loader.In(time.Hour))
	if h.interval() > 125*time.Millisecond {
		t.Errorf("beats every %v", h.interval())
	}
	first := h.beats.Load()
	deadline := time.Now().Add(30 * time.Second)
	for h.beats.Load() < first+8 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if h.beats.Load() < first+8 {
		t.Error("the heartbeat does not beat")
	}
}

// words are those of a kernel.
type words struct{ lease, tripped atomic.Uint64 }

func (w *words) Beat() {}

func (w *words) Lease() loader.Deadline { return loader.Deadline(w.lease.Load()) }

func (w *words) SetLease(d loader.Deadline) { w.lease.Store(uint64(d)) }

func (w *words) SetTripped(number uint32) { w.tripped.Store(uint64(number)) }

// preempted is a kernel whose stores are overtaken: before the next one, something else happens.
type preempted struct {
	lease   loader.Deadline
	tripped uint32
	before  func()
	after   func()
}

func (p *preempted) Beat() {}

func (p *preempted) Lease() loader.Deadline { return p.lease }

func (p *preempted) SetTripped(number uint32) { p.tripped = number }

func (p *preempted) SetLease(d loader.Deadline) {
	if f := p.before; f != nil {
		p.before = nil
		f()
	}
	p.lease = d
	if f := p.after; f != nil {
		p.after = nil
		f()
	}
}

// A renewal that was read before a release and is stored after it must not leave a lease that nobody renews or ends.
func TestRenewalThatMeetsARelease(t *testing.T) {
	p := &preempted{}
	h := &Heartbeat{to: p, wake: make(chan struct{}, 1)}
	h.Hold(7, time.Minute, loader.In(time.Hour))
	p.before = h.Release
	h.beat()
	if p.lease != 0 {
		t.Errorf("a lease of %v without a candidate", p.lease.Left())
	}
	h.Hold(7, time.Minute, loader.In(time.Hour))
	p.before = func() { h.Hold(8, time.Hour, loader.In(2*time.Hour)) }
	h.beat()
	if p.lease.Left() < 30*time.Minute {
		t.Errorf("the lease of the candidate before: %v", p.lease.Left())
	}
}

// A stopped agent that goes on must not bring back a candidate whose lease ended meanwhile, wherever it was stopped.
func TestF7LapsedLeaseStaysLapsed(t *testing.T) {
	const lease = 20 * time.Millisecond
	for _, stop := range []struct {
		name string
		at   func(*preempted, func())
	}{
		{"before the look", func(_ *preempted, sleep func()) { sleep() }},
		{"between the look and the store", func(p *preempted, sleep func()) { p.before = sleep }},
		{"after the store", func(p *preempted, sleep func()) { p.after = sleep }},
	} {
		t.Run(stop.name, func(t *testing.T) {
			p := &preempted{}
			h := &Heartbeat{to: p, wake: make(chan struct{}, 1)}
			h.Hold(7, lease, loader.In(time.Hour))
			h.leaseNS.Store(int64(time.Hour)) // the next lease would outlive the stop
			stop.at(p, func() { time.Sleep(2 * lease) })
			h.beat()
			if p.tripped != 7 || h.lapsed.Load() != 7 {
				t.Errorf("tripped %d, lapsed %d, lease %v", p.tripped, h.lapsed.Load(), p.lease.Left())
			}
			before := p.lease
			h.beat()
			if p.lease != before {
				t.Error("the lease of a tripped candidate is renewed")
			}
			// The next candidate has a lease of its own, and nobody's trip.
			h.Hold(8, time.Hour, loader.In(2*time.Hour))
			h.beat()
			if p.tripped == 8 || h.lapsed.Load() == 8 || p.lease.Left() < 30*time.Minute {
				t.Errorf("the next candidate: tripped %d, lease %v", p.tripped, p.lease.Left())
			}
		})
	}
}

// A lease that ends with the candidate's own deadline did not lapse: nobody confirmed.
func TestF7DeadlineIsNoLapse(t *testing.T) {
	p := &preempted{}
	h := &Heartbeat{to: p, wake: make(chan struct{}, 1)}
	h.Hold(7, time.Hour, loader.In(time.Millisecond))
	time.Sleep(5 * time.Millisecond)
	h.beat()
	if p.tripped != 0 || h.lapsed.Load() != 0 || p.lease.Active() {
		t.Errorf("tripped %d, lapsed %d, lease %v", p.tripped, h.lapsed.Load(), p.lease.Left())
	}
}

// A heartbeat that finds itself late knows for how long the process did not run.
func TestF14HeartbeatKnowsHowLongItSlept(t *testing.T) {
	h := &Heartbeat{to: &preempted{}}
	h.last.Store(uint64(loader.Present()))
	h.beat()
	h.last.Add(^uint64(time.Minute - 1))
	h.beat()
	if slept := time.Duration(h.sleptNS.Load()); slept < 58*time.Second || slept > time.Minute {
		t.Errorf("slept %v", slept)
	}
}
