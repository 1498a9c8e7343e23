// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
)

// The lease must never reach beyond the candidate's own deadline, even if nothing but the heartbeat lives.
func TestLeaseEndsWithTheDeadline(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	h.hold(time.Hour, loader.In(time.Minute))
	if left := r.machine.Lease().Left(); left > time.Minute {
		t.Errorf("lease of %v beyond a deadline in a minute", left)
	}
	h.until.Store(uint64(loader.In(0)))
	r.machine.SetLease(0)
	h.beat()
	if r.machine.Lease() != 0 {
		t.Error("a lease after the deadline")
	}
	h.close()
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	h.close()
	h.hold(time.Second, loader.In(time.Hour))
	if n := testing.AllocsPerRun(100, h.beat); n != 0 {
		t.Errorf("%v allocations a beat", n)
	}
}

// A heartbeat must keep up with the shortest lease that the host file allows.
func TestHeartbeatKeepsAShortLease(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	defer h.close()
	h.hold(500*time.Millisecond, loader.In(time.Hour))
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

// preempted is a kernel whose stores are overtaken: before the next one, something else happens.
type preempted struct {
	lease  loader.Deadline
	before func()
}

func (p *preempted) Beat() {}

func (p *preempted) SetLease(d loader.Deadline) {
	if f := p.before; f != nil {
		p.before = nil
		f()
	}
	p.lease = d
}

// A renewal that was read before a release and is stored after it must not leave a lease that nobody renews or ends.
func TestRenewalThatMeetsARelease(t *testing.T) {
	p := &preempted{}
	h := &heartbeat{to: p, wake: make(chan struct{}, 1)}
	h.hold(time.Minute, loader.In(time.Hour))
	p.before = h.release
	h.beat()
	if p.lease != 0 {
		t.Errorf("a lease of %v without a candidate", p.lease.Left())
	}
	h.hold(time.Minute, loader.In(time.Hour))
	p.before = func() { h.hold(time.Hour, loader.In(2*time.Hour)) }
	h.beat()
	if p.lease.Left() < 30*time.Minute {
		t.Errorf("the lease of the candidate before: %v", p.lease.Left())
	}
}
