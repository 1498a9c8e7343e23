// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newApply() *cobra.Command {
	var o api.ApplyOptions
	var h how
	var stored string
	c := &cobra.Command{
		Use: "apply [BUNDLE]", Short: "Put a bundle into force",
		Long: `Validate a bundle, build it beside what is in force, read it back, and bring it
into force in stages (guards.rollout: direct does it at once). A refusal changes
nothing. What decided before stays in the kernel for spillway rollback. It
becomes last-known-good after guards.bake.

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
One change runs at a time, and others wait; what can only let more pass waits for
none. With guards.rollout: direct apply waits with it, and Ctrl-C cancels it.

Stages take hours, and moments where the host observes or where it only lets more
pass. At a terminal they are shown live, and Ctrl-C leaves it running; elsewhere
apply answers once it was tried (--no-wait: at once), and spillway rollout shows
it:

  spillway apply edge.yaml --wait          … until it is over, for pipelines:
                                           0 done, 5 refused, 6 held, 7 taken
                                           back, 8 withdrawn
  spillway apply edge.yaml --stage shadow  stop before it decides for anybody
  spillway apply edge.yaml --accept-blocks 2% --reason WHY
                                           so many new blocks are meant
  spillway apply edge.yaml --replace       in the place of the one that runs
  spillway apply edge.yaml --emergency --reason WHY
                                           for everybody within half a minute,
                                           for an hour at most

Exit code 0 when it is in force or on its way, 1 when it is refused or held
before it begins (with --wait 5 or 6), 5 to 8 when its rollout has ended so, 3
when no agent answers. With --dry-run the same as plan: 0 without changes, 2
with changes.`,
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
			if err := h.fits(o); err != nil {
				return err
			}
			if stored != "" {
				return h.ends(a.applyStored(c.Context(), stored, o, h))
			}
			if len(args) == 0 {
				return h.ends(a.apply(c.Context(), "", o, h))
			}
			err := a.apply(c.Context(), args[0], o, h)
			return h.ends(a.withoutAgent(args[0], err))
		},
	}
	c.Flags().Var(textFlag{&o.Remove}, "remove", "take the bundle of this name out")
	h.flags(c)
	a.stageFlags(c, &o)
	c.Flags().Var(durationFlag{&o.Confirm}, "confirm", "go back by itself unless confirmed in time (5m)")
	c.Flags().Var(textFlag{&o.Accept}, "accept", "accept what is held, with a reason")
	c.Flags().Var(textFlag{&o.Reason}, "reason", "why, for the history")
	c.Flags().Var(textFlag{&stored}, "stored", "a bundle of the state folder: number or digest")
	_ = c.RegisterFlagCompletionFunc("stored",
		values(func() []string { return a.waysBack()[:max(len(a.waysBack())-2, 0)] }))
	return c
}

// how is what a person wants to see of an apply.
type how struct {
	yes, dry, noWait, wait bool
	planned                *api.Plan // that was shown, with its warnings and notes
}

func (h *how) flags(c *cobra.Command) {
	c.Flags().BoolVar(&h.noWait, "no-wait", false, "do not wait for its turn: leave it in the queue")
	c.Flags().BoolVar(&h.wait, "wait", false, "wait until it is over, through all stages")
	c.Flags().BoolVar(&h.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&h.dry, "dry-run", false, "show the plan and change nothing")
}

// stageFlags are for a host that rolls out in stages; another refuses them.
func (a *app) stageFlags(c *cobra.Command, o *api.ApplyOptions) {
	c.Flags().StringVar(&o.Stage, "stage", "", "stop there until spillway rollout promote: shadow")
	c.Flags().Var(shareFlag{&o.AcceptBlocks}, "accept-blocks", "accept that so many votes are newly blocked (2%)")
	c.Flags().BoolVar(&o.Replace, "replace", false, "end the rollout that runs, and take its place")
	c.Flags().BoolVar(&o.Emergency, "emergency", false, "decide for everybody at once, for an hour at most")
	_ = c.RegisterFlagCompletionFunc("stage",
		cobra.FixedCompletions([]string{api.StageShadow}, cobra.ShellCompDirectiveNoFileComp))
}

// fits refuses options that do not go together, before anything is sent.
func (h *how) fits(o api.ApplyOptions) error {
	switch {
	case h.wait && h.noWait:
		return usage("--wait and --no-wait do not go together")
	case o.Stage != "" && o.Stage != api.StageShadow:
		return usage("--stage is shadow or nothing, not %q", o.Stage)
	case o.Stage != "" && o.Emergency:
		return usage("an emergency does not stop in shadow: leave --stage or --emergency out")
	case o.Emergency && o.Reason == "":
		return usage("--emergency wants --reason: the history keeps it")
	case o.AcceptBlocks > 0 && o.Reason == "":
		return usage("--accept-blocks wants --reason: the history keeps it")
	}
	return nil
}

// ends gives who waits the same exit code for a change that did not begin as for one that a gate ended.
func (h *how) ends(err error) error {
	var refusal *api.Error
	if !h.wait || !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case api.CodeRefused:
		return &exitCode{exitRefused, err}
	case api.CodeHeld:
		return &exitCode{exitHeld, err}
	case api.CodeCancelled:
		return &exitCode{exitWithdrawn, err}
	}
	return err
}

func (a *app) apply(ctx context.Context, path string, o api.ApplyOptions, h how) error {
	if h.dry || a.stdinTTY && a.stdoutTTY && !h.yes {
		p, err := a.plan(ctx, path, o.Remove)
		if err != nil {
			return err
		}
		// Exit code 2 is plan's alone: here changes are the point.
		if err := a.showPlan(p); h.dry || err != nil && !errors.As(err, new(*exitCode)) {
			return err
		}
		if !p.Changes {
			return nil
		}
		if len(p.Holds) > 0 && o.Accept == "" {
			return &api.Error{Code: api.CodeHeld, Message: "the bundle is held: nothing was changed",
				Fix: "to accept it: the same with --accept WHY"}
		}
		if err := a.confirmed(false, a.question(ctx)); err != nil {
			return err
		}
		h.planned = p
	}
	if path == "" {
		return a.roll(ctx, o, h, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
			return c.Remove(ctx, o.Request(""))
		})
	}
	upload, err := api.Pack(path)
	if err != nil {
		return err
	}
	return a.roll(ctx, o, h, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
		return c.Apply(ctx, upload, o)
	})
}

// question is what an apply asks: on a host that rolls out in stages nothing is in force at once.
func (a *app) question(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := a.client()
	defer client.Close()
	if all, err := client.Rollouts(ctx); err == nil && all.Stages != nil {
		return "Roll it out, in stages?"
	}
	return "Put it into force?"
}

// applyStored puts a bundle into force that the agent has on disk.
func (a *app) applyStored(ctx context.Context, stored string, o api.ApplyOptions, h how) error {
	if h.dry {
		return usage("--dry-run wants a bundle: its YAML file or folder")
	}
	if a.stdinTTY && a.stdoutTTY && !h.yes {
		if err := a.confirmed(false, "Put the stored bundle "+stored+" into force?"); err != nil {
			return err
		}
	}
	return a.roll(ctx, o, h, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (*api.Rollout, error) {
		return c.ApplyStored(ctx, stored, o)
	})
}

// roll starts a rollout, waits for its turn, and tells what became of it.
func (a *app) roll(ctx context.Context, o api.ApplyOptions, h how,
	start func(context.Context, *api.Client, api.ApplyOptions) (*api.Rollout, error)) error {
	client := a.client()
	defer client.Close()
	o.Key = rand.Text()
	starting, cancel := context.WithTimeout(ctx, bundlePatience)
	defer cancel()
	rollout, err := start(starting, client, o)
	if h.wait && errors.Is(err, api.ErrLost) && !a.interrupted() {
		if rollout, err = a.again(client, o.Key); err != nil {
			return err
		}
	}
	if a.interrupted() || errors.Is(err, api.ErrLost) {
		return a.becameOf(o.Key, err)
	}
	if err == nil && !h.noWait && rollout.Staged == nil {
		rollout, err = a.awaitTurn(client, rollout)
	}
	switch {
	case err != nil:
		return err
	case rollout.Staged != nil:
		return a.rolling(client, rollout, h)
	}
	return a.showRollout(rollout)
}

// again finds a change by its key, once an agent answers: the one that was asked for it ended before it said anything.
func (a *app) again(c *api.Client, key string) (*api.Rollout, error) {
	ctx := a.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	alone := absence{says: "The agent ended before it answered"}
	for {
		alone.tell(a.stderr, standsStill)
		all, err := c.Rollouts(ctx)
		switch {
		case a.interrupted():
			return nil, becameUnknown("interrupted", api.ErrLost, err)
		case err == nil && all.ByKey(key) != nil:
			return all.ByKey(key), nil
		case err == nil:
			return nil, &exitCode{exitNoAgent, &became{"the agent ended before it answered, and the one that runs now has no" +
				" such rollout", "`spillway history` shows whether it happened; if not, apply it again"}}
		case !alone.is(err):
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(turnInterval):
		}
	}
}

// rolling shows a rollout that goes in stages, where somebody looks or waits; else it says how to look.
func (a *app) rolling(c *api.Client, ro *api.Rollout, h how) error {
	if h.planned == nil {
		a.warnings(ro.Warnings)
	}
	for _, d := range ro.Details {
		if h.planned == nil || !slices.Contains(h.planned.Notes, d) {
			fmt.Fprintf(a.stderr, "note: %s\n", api.Visible(d))
		}
	}
	if h.wait || !h.noWait && a.stdoutTTY && a.format == formatTable {
		return a.followed(c, ro, h.wait)
	}
	if !h.noWait {
		ro = a.tried(c, ro)
	}
	if ro.Over() {
		if err := a.print(ro, func() { show.Rollout(a.stdout, ro, a.style()) }); err != nil {
			return err
		}
		return endOf(ro)
	}
	return a.print(ro, func() {
		fmt.Fprintln(a.stdout, show.RolloutLine(ro))
		fmt.Fprintf(a.stdout, "  to look at it: %s\n", lookAgain(ro.ID))
	})
}
