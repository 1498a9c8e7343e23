// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// becamePatience is how long whoever interrupted an apply waits to hear what became of it.
const becamePatience = 3 * time.Second

// became is the end of an apply whose command was interrupted, or whose agent ended: what is in force, not what was
// meant.
type became struct{ message, fix string }

func (b *became) Error() string { return b.message }

// becameOf asks what became of a rollout after its connection ended. The agent cancels one that is not published yet,
// and carries the rest out whole; which of both it was, only the agent knows.
func (a *app) becameOf(key string, why error) error {
	ctx, cancel := context.WithTimeout(context.Background(), becamePatience)
	defer cancel()
	client := a.client()
	client.Patience = becamePatience
	defer client.Close()
	what := "interrupted"
	if !a.interrupted() {
		what = api.ErrLost.Error()
	}
	for {
		all, err := client.Rollouts(ctx)
		if err != nil {
			return becameUnknown(what, why, err)
		}
		if ro := all.ByKey(key); ro == nil {
			return becameUnknown(what, why, nil)
		} else if ro.Staged != nil && !ro.Over() {
			return &became{fmt.Sprintf("%s; rollout %s is begun and goes on", what, ro.ID),
				"to look at it: " + lookAgain(ro.ID) + "; to end it: spillway rollout abort " + ro.ID + " --reason WHY"}
		} else if ro.State == api.RolloutQueued && a.interrupted() {
			return a.cancelTurn(client, ro.ID)
		} else if ro.Over() || ro.State == api.RolloutWaiting {
			return becameKnown(what, ro)
		}
		select {
		case <-ctx.Done():
			return becameUnknown(what, why, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func becameKnown(what string, ro *api.Rollout) error {
	switch {
	case ro.Outcome == api.OutcomeUnchanged:
		return &became{what + "; nothing was changed: the bundle was in force already", ""}
	case ro.State == api.RolloutDone:
		return &became{fmt.Sprintf("%s, but it is done: generation %d is applied", what, ro.Number),
			"to go back: spillway rollback"}
	case ro.State == api.RolloutWaiting:
		return &became{
			fmt.Sprintf("%s, but it is done: generation %d is the candidate and goes back by itself unless it is confirmed",
				what, ro.Number),
			"to keep it: spillway confirm; to end it: spillway rollback"}
	}
	return &became{what + ": nothing was changed", ""}
}

// becameUnknown says that nobody can tell. Without the agent's word the first error stands, where there is one.
func becameUnknown(what string, why, err error) error {
	var hung *api.Hung
	switch {
	case errors.As(err, &hung):
		return &became{fmt.Sprintf("%s; %s", what, hung), hungFix}
	case errors.Is(why, api.ErrLost):
		return why
	case err == nil: // the agent never heard of it, or is another one by now
		return &became{what + "; the agent knows nothing of this apply", "`spillway history` shows whether it happened"}
	}
	return &became{what + ", and the agent does not say what became of it", "`spillway status` shows what is in force"}
}
