// SPDX-License-Identifier: Apache-2.0

package root

import (
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/loader/kernel"
)

// Switch are the words of a dataplane that has no root of its own. While one decides beside the root, its words get
// what the root's get.
type Switch interface {
	Bypass() *uint64    // the word that lets everything pass
	Heartbeat() *uint64 // the word of whoever runs it
	Program() string    // where its program on the interfaces is pinned
	Close() error       // leaves the words mapped
	Unmap() error
}

// Join has the words of another dataplane get what these get; nil joins none.
func (r *Root) Join(s Switch) {
	if s != nil {
		r.beside.Store(&s)
	}
}

// Leave ends that and returns it, nil for none: a heartbeat that has begun may still store into its words.
func (r *Root) Leave() Switch {
	if s := r.beside.Swap(nil); s != nil {
		return *s
	}
	return nil
}

func (r *Root) joined() Switch {
	if s := r.beside.Load(); s != nil {
		return *s
	}
	return nil
}

// Bypass returns the global kill switch.
func (r *Root) Bypass() kernel.Deadline {
	until := kernel.DeadlineForever
	for _, w := range r.Switches() {
		until = min(until, kernel.Deadline(atomic.LoadUint64(w)))
	}
	return until
}

// SetBypass lets everything pass until the deadline; 0 ends it. It is one store and takes effect with the next packet.
func (r *Root) SetBypass(until kernel.Deadline) {
	for _, w := range r.Switches() {
		atomic.StoreUint64(w, uint64(until))
	}
}

// Switches are the words that let everything pass: one, but while another dataplane is joined.
func (r *Root) Switches() []*uint64 {
	var all []*uint64
	if r.at != nil {
		all = append(all, &r.at.BypassUntilNs)
	}
	if old := r.joined(); old != nil {
		all = append(all, old.Bypass())
	}
	return all
}

// Beat says that the agent lives. When it has not for guards.agent_timeout, everything passes.
func (r *Root) Beat() {
	if r.at != nil {
		atomic.StoreUint64(&r.at.HeartbeatNs, kernel.MonotonicNS())
	}
	if old := r.joined(); old != nil {
		atomic.StoreUint64(old.Heartbeat(), kernel.MonotonicNS())
	}
}

// Heartbeat returns the age of the last beat, negative when there never was one.
func (r *Root) Heartbeat() time.Duration {
	var beat uint64
	if r.at != nil {
		beat = atomic.LoadUint64(&r.at.HeartbeatNs)
	}
	if old := r.joined(); old != nil {
		beat = max(beat, atomic.LoadUint64(old.Heartbeat()))
	}
	return kernel.BeatAge(beat)
}
