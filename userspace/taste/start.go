// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spillway/spillway/userspace/rollout"
)

// Command is the hidden command that a child is.
const Command = "taste"

// Flags of the child: what it has to know before it reads its request. The second instance has to be loaded before the
// right to do so is given up.
const (
	goldenFlag = "--golden"
	memoryFlag = "--memory"
)

// Options of Start. The zero value is what an agent takes.
type Options struct {
	Limits  Limits   // zero: DefaultLimits
	Program []string // the child's command line; none: this program
}

// Start runs a child and returns how it ended: when it has, when its time is over, or when ctx ends. It never takes
// much longer than the wall time, and nothing of the child runs on. The folder of what it built is there only when it
// passed; whoever does not Adopt it leaves it to Sweep.
func Start(ctx context.Context, req Request, o Options) Result {
	begun := time.Now()
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Program == nil {
		o.Program = []string{"/proc/self/exe", Command}
	}
	r := Result{Digest: req.Digest, Folder: req.Folder()}
	err := prepare(&req)
	if err == nil {
		r = run(ctx, &req, o)
	} else {
		r.Outcome, r.Detail = rollout.TasteFailed, err.Error()
	}
	r.ID, r.Base, r.Took = req.ID, req.Base, time.Since(begun)
	if r.Outcome != rollout.TastePassed {
		r.Number = 0
		if req.check() == nil {
			_ = remove(req.Folder()) // else Sweep does
		}
	}
	return r
}

// prepare makes the folder anew.
func prepare(req *Request) error {
	if err := req.check(); err != nil {
		return err
	}
	if err := remove(req.Folder()); err != nil {
		return err
	}
	if err := os.MkdirAll(req.Folder(), 0o700); err != nil {
		return fmt.Errorf("make the folder of a taste: %w", err)
	}
	return nil
}

func run(ctx context.Context, req *Request, o Options) Result {
	input, err := json.Marshal(req)
	if err != nil {
		return failed(fmt.Errorf("write the request of a taste: %w", err))
	}
	timed, cancel := context.WithTimeout(ctx, o.Limits.Wall)
	defer cancel()
	c := &child{limits: o.Limits, out: limited{most: o.Limits.Output, full: cancel}, err: head{most: 4 << 10}}
	done := make(chan error, 1)
	go func() { done <- c.run(timed, o.Program, req.Golden, input) }()
	select {
	case err = <-done:
	case <-timed.Done():
		select {
		case err = <-done:
		case <-time.After(o.Limits.Stuck): // the kernel does not let it go
			return failed(errors.New("it was killed and does not end"))
		}
	}
	switch {
	case c.out.over:
		return ended(rollout.TasteWrong, fmt.Sprintf("It said more than %d bytes.", o.Limits.Output))
	case ctx.Err() != nil:
		return failed(errors.New("the agent ended it"))
	case timed.Err() != nil && c.hindered != "":
		return failed(errors.New(c.hindered))
	case timed.Err() != nil:
		return ended(rollout.TasteHung, fmt.Sprintf("It was killed after %s.", o.Limits.Wall))
	}
	return c.judge(req, err)
}

func failed(err error) Result { return ended(rollout.TasteFailed, err.Error()) }

func ended(outcome rollout.TasteEnd, detail string) Result {
	return Result{Taste: rollout.Taste{Outcome: outcome, Detail: detail}}
}
