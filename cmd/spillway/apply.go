// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
)

func (a *app) newApply() *cobra.Command {
	var o api.ApplyOptions
	var yes, dry, noWait bool
	var stored string
	c := &cobra.Command{
		Use: "apply [BUNDLE]", Short: "Put a bundle into force",
		Long: `Validate a bundle, build it beside what is in force, read it back, and publish
it with one store. A refusal changes nothing. What decided before stays in the
kernel for spillway rollback. It becomes last-known-good after guards.bake.

  spillway apply edge.yaml                 at a terminal: shows the plan, then asks
  spillway apply edge.yaml --confirm 5m    goes back by itself unless confirmed
  spillway apply edge.yaml --accept WHY    for a bundle that is held: it grows,
                                           shrinks or covers more than the guards
                                           allow, or was rolled back before
  spillway apply --stored 7                a bundle of the state folder, by the
                                           number of a generation that had it, or
                                           by the beginning of its digest
  spillway apply --remove feed             take the bundle feed out
  spillway apply new.yaml --remove old     one comes as the other goes

The bundle is added to those in force, or takes the place of the one of its name.
One change runs at a time: while another is built, or a candidate waits for its
confirmation, this one waits (Ctrl-C cancels it), or is left in the queue with
--no-wait. What can only let more pass waits for no candidate.

Exit code 1 when it is refused or held, 3 when no agent answers. With --dry-run
the same as plan: 0 without changes, 2 with changes.`,
		Args: func(c *cobra.Command, args []string) error {
			if stored != "" {
				return noArgs(c, args)
			}
			if len(args) == 0 && o.Remove != "" {
				return nil
			}
			return oneArg("bundle: its YAML file or folder")(c, args)
		},
		ValidArgsFunction: files("yaml", "yml"),
		RunE: func(c *cobra.Command, args []string) error {
			if stored != "" {
				return a.applyStored(c.Context(), stored, o, yes, dry, noWait)
			}
			if len(args) == 0 {
				return a.apply(c.Context(), "", o, yes, dry, noWait)
			}
			err := a.apply(c.Context(), args[0], o, yes, dry, noWait)
			return a.withoutAgent(args[0], err)
		},
	}
	c.Flags().Var(textFlag{&o.Remove}, "remove", "take the bundle of this name out")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for its turn: leave it in the queue")
	c.Flags().Var(durationFlag{&o.Confirm}, "confirm", "go back by itself after this time unless confirmed (5m)")
	c.Flags().Var(textFlag{&o.Accept}, "accept", "accept what is held, with a reason")
	c.Flags().Var(textFlag{&o.Reason}, "reason", "why, for the history")
	c.Flags().Var(textFlag{&stored}, "stored", "a bundle of the state folder: number or digest")
	_ = c.RegisterFlagCompletionFunc("stored",
		values(func() []string { return a.waysBack()[:max(len(a.waysBack())-2, 0)] }))
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&dry, "dry-run", false, "show the plan and change nothing")
	return c
}

func (a *app) apply(ctx context.Context, path string, o api.ApplyOptions, yes, dry, noWait bool) error {
	if dry || a.stdinTTY && a.stdoutTTY && !yes {
		p, err := a.plan(ctx, path, o.Remove)
		if err != nil {
			return err
		}
		// Exit code 2 is plan's alone: here changes are the point.
		if err := a.showPlan(p); dry || err != nil && !errors.As(err, new(*exitCode)) {
			return err
		}
		if !p.Changes {
			return nil
		}
		if len(p.Holds) > 0 && o.Accept == "" {
			return errors.New("the bundle is held: nothing was changed")
		}
		if err := a.confirmed(false, "Put it into force?"); err != nil {
			return err
		}
	}
	if path == "" {
		return a.roll(ctx, o, noWait, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
			return c.Remove(ctx, o.Request(""))
		})
	}
	upload, err := api.Pack(path)
	if err != nil {
		return err
	}
	return a.roll(ctx, o, noWait, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
		return c.Apply(ctx, upload, o)
	})
}

// applyStored puts a bundle into force that the agent has on disk.
func (a *app) applyStored(ctx context.Context, stored string, o api.ApplyOptions, yes, dry, noWait bool) error {
	if dry {
		return usage("--dry-run wants a bundle: its YAML file or folder")
	}
	if a.stdinTTY && a.stdoutTTY && !yes {
		if err := a.confirmed(false, "Put the stored bundle "+stored+" into force?"); err != nil {
			return err
		}
	}
	return a.roll(ctx, o, noWait, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
		return c.ApplyStored(ctx, stored, o)
	})
}

// roll starts a rollout, waits for its turn, and tells what became of it.
func (a *app) roll(ctx context.Context, o api.ApplyOptions, noWait bool,
	start func(context.Context, *api.Client, api.ApplyOptions) (*api.Rollout, error)) error {
	client := a.client()
	defer client.Close()
	o.Key = rand.Text()
	starting, cancel := context.WithTimeout(ctx, bundlePatience)
	defer cancel()
	rollout, err := start(starting, client, o)
	if a.interrupted() || errors.Is(err, api.ErrLost) {
		return a.becameOf(o.Key, err)
	}
	if err == nil && !noWait {
		rollout, err = a.awaitTurn(client, rollout)
	}
	if err != nil {
		return err
	}
	return a.showRollout(rollout)
}
