// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

const (
	turnInterval = 300 * time.Millisecond
	cancelTime   = 5 * time.Second
)

// awaitTurn waits until a change that was queued is over, or is the candidate. An agent that starts again meanwhile
// still has it. Ctrl-C cancels what waits; what is being built goes on, and its outcome is told. One that goes on in
// stages, because the host began to roll out so meanwhile, is no longer waited for here.
func (a *app) awaitTurn(c *api.Client, ro *api.Rollout) (*api.Rollout, error) {
	if ro.State == api.RolloutQueued {
		fmt.Fprintln(a.stderr, ro.Message)
		fmt.Fprintln(a.stderr, "Ctrl-C cancels it; with --no-wait it waits there by itself.")
	}
	ctx := a.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	alone := absence{}
	for !ro.Over() && ro.State != api.RolloutWaiting && ro.Staged == nil {
		select {
		case <-ctx.Done():
			return nil, a.cancelTurn(c, ro.ID)
		case <-time.After(turnInterval):
		}
		now, err := c.Rollout(ctx, ro.ID)
		switch {
		case a.interrupted():
			return nil, a.cancelTurn(c, ro.ID)
		case err == nil:
			ro, alone = now, absence{}
		case alone.is(err): // it has the queue on disk
			alone.tell(a.stderr, keepsQueue)
		default:
			return nil, err
		}
	}
	if ro.Refusal != nil {
		return nil, ro.Refusal
	}
	if ro.State == api.RolloutWithdrawn {
		return nil, &api.Error{Code: api.CodeCancelled, Rollout: ro.ID,
			Message: fmt.Sprintf("rollout %s came to nothing: %s", ro.ID, ro.Message)}
	}
	return ro, nil
}

// cancelTurn ends what waits, and says what became of what does not.
func (a *app) cancelTurn(c *api.Client, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTime)
	defer cancel()
	if ro, err := c.Rollout(ctx, id); err == nil && ro.State != api.RolloutQueued {
		if ro.State == api.RolloutBuilding {
			return &became{fmt.Sprintf("interrupted; rollout %s is being built and goes on", id), "to end it: spillway cancel " +
				id}
		}
		return becameKnown("interrupted", ro)
	}
	if _, err := c.EndRollout(ctx, id, "interrupted"); err != nil {
		return &became{fmt.Sprintf("interrupted, and rollout %s still waits: %v", id, err), "to cancel it: spillway cancel " +
			id}
	}
	return &became{"interrupted: rollout " + id + " is cancelled, and nothing was changed", ""}
}

func (a *app) newCancel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "cancel ROLLOUT", Short: "Cancel a change that waits for its turn",
		Long: `Take a change out of the queue that spillway status shows, by the number that it
has there. One that is being built is not published; a candidate goes back.

Exit code 3 when no agent answers.`,
		Args: oneArg("rollout: its number in spillway status"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
				return c.EndRollout(ctx, args[0], reason)
			})
		},
	}
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	return c
}

// showRollout prints what became of a change.
func (a *app) showRollout(ro *api.Rollout) error {
	a.warnings(ro.Warnings)
	return a.print(ro, func() { show.Change(a.stdout, &ro.Change, a.style()) })
}
