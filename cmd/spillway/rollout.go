// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newRollout() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use: "rollout", Short: "Look at what rolls out, and steer it",
		Long: `Show what rolls out: its stage, what was counted, which rules newly block, and
how long it still takes at this traffic. Unless guards.rollout is direct a bundle
goes through taste, shadow, canary and bake; each gate that decides says by what.
Without a word it is the same as spillway rollout status.

  spillway rollout                              what runs, waits and is held
  spillway rollout --follow                     the same, live
  spillway rollout pause --reason WHY           no stage goes on
  spillway rollout resume --reason WHY          it goes on; one that is held is
                                                tried again, with other sources
  spillway rollout promote --reason WHY         the stage is over, although its
                                                evidence does not suffice
  spillway rollout accept --blocks 2% --reason WHY
                                                so many new blocks are meant
  spillway rollout confirm                      keep what --confirm is about
  spillway rollout abort --reason WHY           end it; nothing is condemned

A person passes what is inconclusive, never a protected source that is hit.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.rolloutStatus(c.Context(), "", follow)
			}
			var names []string
			for _, sub := range c.Commands() {
				names = append(names, sub.Name())
			}
			if near := words.NearestName(args[0], names); near != "" {
				return usage("unknown command %q for %q\n\nDid you mean this?\n\t%s", args[0], c.CommandPath(), near)
			}
			return usage("unknown command %q for %q", args[0], c.CommandPath())
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "live, until it is over or Ctrl-C")
	c.AddCommand(a.newRolloutStatus())
	for _, o := range orders {
		c.AddCommand(a.newOrder(o))
	}
	return c
}

func (a *app) newRolloutStatus() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use: "status [ROLLOUT]", Short: "Show what rolls out, or one rollout",
		Long: `Show one rollout with what it was judged by and the decisions of its gates, or
all of them. With --follow it is shown live until it is over; Ctrl-C looks away
and leaves it running.

Exit code of --follow: 0 done, 5 refused, 6 held, 7 taken back, 8 withdrawn.
Exit code 3 when no agent answers: without one no stage goes on.`,
		Args:              maybeOneArg("rollout: its number in spillway rollout"),
		ValidArgsFunction: first(func() []string { return a.rolloutIDs(func(*api.Rollout) bool { return true }) }),
		RunE: func(c *cobra.Command, args []string) error {
			return a.rolloutStatus(c.Context(), firstOr(args, ""), follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "live, until it is over or Ctrl-C")
	return c
}

func firstOr(args []string, other string) string {
	if len(args) > 0 {
		return args[0]
	}
	return other
}

// maybeOneArg wants one argument at most.
func maybeOneArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage("want one %s, at most\nsee: %s --help", name, c.CommandPath())
		}
		return nil
	}
}

// rolloutStatus shows all rollouts, or one.
func (a *app) rolloutStatus(ctx context.Context, id string, follow bool) error {
	client := a.client()
	defer client.Close()
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all *api.RolloutList
	var ro *api.Rollout
	var err error
	if id == "" {
		if all, err = client.Rollouts(short); err == nil && follow {
			ro, err = pick(all, "follow", underWay)
		}
	} else {
		ro, err = client.Rollout(short, id)
	}
	switch {
	case err != nil:
		a.withoutStages(err)
		return err
	case follow:
		a.lines = true
		return a.followed(client, ro, false)
	case ro == nil:
		return a.print(all, func() { show.Rollouts(a.stdout, all, a.style()) })
	}
	return a.print(ro, func() { show.Rollout(a.stdout, ro, a.style()) })
}

// withoutStages says what no agent means for whoever looks for a rollout.
func (a *app) withoutStages(err error) {
	if errors.Is(err, api.ErrUnreachable) && !errors.Is(err, fs.ErrPermission) {
		fmt.Fprintln(a.stderr, "Without an agent no stage goes on, and a canary goes back by itself.")
	}
}

func underWay(ro *api.Rollout) bool { return !ro.Over() }

// begun is what runs: what waits for its turn can only be ended.
func begun(ro *api.Rollout) bool { return !ro.Over() && ro.State != api.RolloutQueued }

// pick finds the one rollout that a command can only be about.
func pick(all *api.RolloutList, verb string, fits func(*api.Rollout) bool) (*api.Rollout, error) {
	var found []*api.Rollout
	for i := range all.Rollouts {
		if ro := &all.Rollouts[i]; ro.Staged != nil && fits(ro) {
			found = append(found, ro)
		}
	}
	switch {
	case len(found) == 1 && all.Stages != nil:
		return found[0], nil
	case all.Stages == nil:
		return nil, direct(all, verb)
	case len(found) == 0:
		return nil, fmt.Errorf("there is no rollout to %s\n  fix: spillway rollout shows what there is", verb)
	}
	var names []string
	for _, ro := range found {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s (%s, %s)", ro.ID, api.Visible(ro.Name), ro.Staged.Where())))
	}
	return nil, usage("say which rollout to %s: %s", verb, strings.Join(names, ", "))
}

// direct says that this host has no stages. What waits for a confirmation there has a command of its own.
func direct(all *api.RolloutList, verb string) error {
	if verb != api.OrderConfirm || all.Waiting() == nil {
		return api.ErrDirect
	}
	e := *api.ErrDirect
	e.Fix = "to keep what apply --confirm put into force: spillway confirm"
	return &e
}

// rolloutIDs completes the number of a rollout, with what it is.
func (a *app) rolloutIDs(fits func(*api.Rollout) bool) (out []string) {
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	all, err := a.client().Rollouts(ctx)
	if err != nil {
		return nil
	}
	for i := range all.Rollouts {
		if ro := &all.Rollouts[i]; fits(ro) {
			out = append(out, fmt.Sprintf("%s\t%s, %s", ro.ID, ro.Name, strings.ReplaceAll(ro.State, "_", " ")))
		}
	}
	return out
}
