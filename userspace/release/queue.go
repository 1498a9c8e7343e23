// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// One change runs at a time; the others wait here, in the order in which they were asked for.
//
//	asked ─▶ queued ─▶ building ─▶ done
//	           │           └─▶ waiting_confirm ─▶ …
//	           └─▶ withdrawn: cancelled, or a newer change of its name took its place
//
// A change waits while another is built and while a candidate waits for its confirmation. What can only let more pass
// does not wait for a candidate: a removal, and a bundle that relaxes (config.Relaxes). The candidate is then built
// again on the new set, with its deadline and its id.
//
// The queue is on disk: who left a change here expects it to come, also after an update of the agent.

// carrier carries out a rollout whose turn it is. The change lock is held, and the dataplane is in use.
type carrier interface {
	carry(ctx context.Context, d Kernel, ro *rollout) (*api.Change, error)
}

// queue hands rollouts to who carries them out, one at a time.
type queue struct {
	*site
	use      func() (Kernel, func(), error)
	disk     setFiles
	change   *changing
	swap     *swap
	rollouts *rollouts
	archive  *archive
	reader   *reader
	backs    *backs
	carrier  carrier
}

// runnable returns the rollout whose turn it is, and why the first one that waits must wait on.
func (qu *queue) runnable() (next *rollout, why string) {
	queued, why := qu.rollouts.inLine()
	if why != "" || len(queued) == 0 {
		return nil, why
	}
	d, done, err := qu.use()
	if err != nil {
		return queued[0], "" // it is told what is wrong
	}
	defer done()
	if d.Control().Candidate == bpf.SlotEmpty {
		return queued[0], ""
	}
	for _, ro := range queued {
		if qu.isFast(d, ro) {
			return ro, ""
		}
	}
	why = "a candidate waits for its confirmation"
	if c := qu.ledger.Record().Confirm; c != nil {
		why = fmt.Sprintf("generation %d (%s) waits for its confirmation until %s", c.Number, c.Name(),
			c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil, why
}

// isFast reports whether a rollout passes a candidate by: it can only let more pass.
func (qu *queue) isFast(d view.Kernel, ro *rollout) bool {
	if ro.confirm > 0 {
		return false // it would be a second candidate
	}
	if ro.wish.bundle == nil || ro.wish.back {
		return true
	}
	all, err := d.Generations()
	if err != nil {
		return false
	}
	g, there := view.InSlot(all, d.Control().Stable)
	candidate, resident := view.InSlot(all, d.Control().Candidate)
	asked := [2]config.Digest{g.Digest, candidate.Digest}
	if fast, known := qu.rollouts.isFast(ro, asked); known {
		return fast
	}
	base, err := qu.archive.baseFor(g, there, ro.wish)
	if err != nil {
		return true // it is told what is wrong
	}
	next, err := ro.wish.on(base)
	if err != nil {
		return true
	}
	fast := config.Relaxes(base, next, qu.ledger.Now())
	if fast && resident { // it and the candidate may not be about one bundle: which of the two counts?
		c, err := qu.disk.Set(candidate.Digest)
		fast = err == nil &&
			!slices.ContainsFunc(ro.wish.names(), func(name string) bool { return config.Touches(base, c, name) })
	}
	qu.rollouts.setFast(ro, asked, fast)
	return fast
}

// turn carries out a rollout if its turn is now; false: it waits.
func (qu *queue) turn(ctx context.Context, ro *rollout) (*api.Rollout, error, bool) {
	next, _ := qu.runnable()
	if next != ro || !qu.rollouts.claim(ro) {
		return nil, nil, false
	}
	d, done, err := qu.change.begin()
	if err == errBusy {
		qu.rollouts.advance(ro, api.RolloutQueued)
		return nil, nil, false
	}
	if err == nil {
		defer done()
		var c *api.Change
		c, err = qu.carrier.carry(ctx, d, ro)
		out, err := qu.rollouts.finish(ro, c, err)
		qu.rollouts.save()
		return out, err, true
	}
	e := qu.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	qu.outcome(&e, nil, err)
	out, err := qu.rollouts.finish(ro, nil, err)
	return out, err, true
}

// run carries out what waits and may run. It is a job.
func (qu *queue) run() {
	for {
		next, _ := qu.runnable()
		if next == nil {
			return
		}
		qu.backs.lookBeside()
		next.wentBack = qu.swap.wentBack.Load() // a rollback before was of something else
		if _, err, ran := qu.turn(context.Background(), next); !ran {
			return
		} else if err != nil {
			qu.log.Warn("a change that waited was not put into force", "rollout", next.ID, "name", next.Name, "error", err)
		}
	}
}

// waits tells the sender of a rollout that it waits, and writes the queue down.
func (qu *queue) waits(ro *rollout) (*api.Rollout, error) {
	if b := ro.wish.bundle; b != nil {
		if err := qu.disk.SaveBundle(b); err != nil {
			return qu.rollouts.finish(ro, nil, fmt.Errorf("nothing changed, and it cannot wait: %w", err))
		}
	}
	_, why := qu.runnable()
	if why == "" {
		why = "another change runs"
	}
	out := qu.rollouts.wait(ro, why)
	e := qu.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name, e.Outcome, e.Detail = ro.wish.name(), api.OutcomeQueued, []string{"rollout " + ro.ID, why}
	if b := ro.wish.bundle; b != nil {
		e.Digest = b.Digest
	}
	qu.ledger.Audit(e)
	qu.rollouts.save()
	return &out, nil
}

// tell adds to status what waits.
func (qu *queue) tell(s *api.Status) {
	_, why := qu.runnable()
	s.Queue = append(s.Queue, qu.rollouts.queued(why)...)
}
