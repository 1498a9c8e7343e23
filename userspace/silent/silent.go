// SPDX-License-Identifier: Apache-2.0

package silent

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/pulse"
	"github.com/spillway/spillway/userspace/sockets"
)

// A blocked connection that sends a FIN is released by the kernel part at once (bpf/release.h). One that says nothing
// more is closed here:
//
//	flows ─ a walk, some rows a second ─▶ blocked for good ─ idle for silentAfter? ─ still blocked, same ISN? ─▶ closed
//
// What is over a limit is blocked as well, until there is room: it has waitAfter for that, in which a client tries
// again seven times. Whoever tries later begins a connection of his own.
//
// The socket is looked up first and closed by its cookie, and the flow and the ISN are looked at in between: whoever
// takes its addresses and ports at any moment has another cookie or another ISN.
const (
	silentAfter   = 15 * time.Second // nothing of the client was accepted for so long
	waitAfter     = time.Minute
	releaseEvery  = time.Second
	walkRows      = 4096            // of the flows, each second: 1 to 3 ms
	walkPause     = 5 * time.Second // between two walks: an empty table of 262,144 rows takes 0.2 ms, too
	closeBudget   = 100             // a second: a server that loses thousands at once would spend itself on their ends
	waitingAtMost = 4096            // found and not looked at yet
)

// releaser is what closes sockets of the dataplane's blocked flows.
type releaser struct {
	walk     loader.FlowWalk
	waiting  []loader.BlockedFlow
	nextWalk time.Time
	find     func(loader.BlockedFlow) (io.Closer, error)
}

// findSilent returns the socket of a connection that has been silent for long enough, nil when there is none.
func findSilent(b loader.BlockedFlow) (io.Closer, error) {
	after := silentAfter
	if b.Waits {
		after = waitAfter
	}
	s, err := sockets.Find(b.Server, b.Client)
	if errors.Is(err, sockets.ErrNoSocket) || err == nil && s.Idle < after {
		return nil, nil
	}
	return s, err
}

// Options of New. All are needed.
type Options struct {
	Ledger *ledger.Ledger
	// Use returns the kernel part and a function that gives it back.
	Use func() (Kernel, func(), error)
}

// Kernel is where blocked flows are.
type Kernel interface {
	Control() loader.Control
	Baked() uint32
	Bypass() loader.Deadline
	BlockedFlows(w *loader.FlowWalk, rows int, to []loader.BlockedFlow) ([]loader.BlockedFlow, bool, error)
	StillBlocked(loader.BlockedFlow) (bool, error)
}

// Sockets closes those of silent blocked connections.
type Sockets struct {
	o      Options
	closed atomic.Uint64
}

// New closes nothing yet.
func New(o Options) *Sockets { return &Sockets{o: o} }

// Closed is how many were closed so far.
func (s *Sockets) Closed() uint64 { return s.closed.Load() }

// Close closes them until ctx ends.
func (s *Sockets) Close(ctx context.Context) {
	ticker := pulse.Every(releaseEvery)
	defer ticker.Stop()
	r := &releaser{find: findSilent}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		d, done, err := s.o.Use()
		if err != nil {
			continue
		}
		closed, err := r.step(d, time.Now())
		done()
		s.tell(closed, err)
	}
}

// tell counts, and tells why it does not go on. A kernel without the call is doctor's to tell.
func (s *Sockets) tell(closed int, err error) {
	s.closed.Add(uint64(closed))
	switch {
	case err == nil, errors.Is(err, sockets.ErrUnsupported):
		s.o.Ledger.ClearProblem(ledger.ProblemRelease)
	default:
		s.o.Ledger.SetProblem(ledger.ProblemRelease,
			"sockets of blocked connections are left to the server's own timeouts: "+err.Error(), ledger.Fix(err))
	}
}

// step walks on, and closes what is ready. Where nothing may be closed it costs one look at the word.
func (r *releaser) step(d Kernel, now time.Time) (closed int, err error) {
	c := d.Control()
	if d.Baked() == 0 || c.Mode != bpf.ModeEnforce || d.Bypass().Active() {
		r.waiting = r.waiting[:0]
		return 0, nil
	}
	if !now.Before(r.nextWalk) && len(r.waiting) < waitingAtMost {
		var done bool
		if r.waiting, done, err = d.BlockedFlows(&r.walk, walkRows, r.waiting); done {
			r.nextWalk = now.Add(walkPause)
		}
		if err != nil {
			return 0, err
		}
	}
	looks := min(len(r.waiting), 10*closeBudget) // a look is two system calls
	for i, b := range r.waiting[:looks] {
		ok, err := r.close(d, b)
		if ok {
			closed++
		}
		if err != nil || closed == closeBudget {
			looks = i + 1
			r.waiting = append(r.waiting[:0], r.waiting[looks:]...)
			return closed, err
		}
	}
	r.waiting = append(r.waiting[:0], r.waiting[looks:]...)
	return closed, nil
}

// close closes the socket of one flow, if there is one and it is silent.
func (r *releaser) close(d Kernel, b loader.BlockedFlow) (bool, error) {
	s, err := r.find(b)
	if err != nil || s == nil {
		return false, err
	}
	if still, err := d.StillBlocked(b); err != nil || !still {
		return false, err
	}
	err = s.Close()
	if errors.Is(err, sockets.ErrNoSocket) {
		return false, nil
	}
	return err == nil, err
}
