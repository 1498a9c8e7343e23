// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

// viaAgent makes a change that only the agent can make.
func (a *app) viaAgent(ctx context.Context, do func(context.Context, *api.Client) (*api.Change, error)) error {
	ctx, cancel := context.WithTimeout(ctx, bundlePatience)
	defer cancel()
	client := a.client()
	defer client.Close()
	change, err := do(ctx, client)
	if err != nil {
		return err
	}
	a.warnings(change.Warnings)
	return a.print(change, func() { show.Change(a.stdout, change, a.style()) })
}

func (a *app) newConfirm() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "confirm", Short: "Keep what apply --confirm put into force",
		Long: `Make the candidate of "apply --confirm" stable. Without it the kernel goes back
to the stable generation when the time is over, also if the agent dies
meanwhile.

Exit code 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
				return c.Confirm(ctx, reason)
			})
		},
	}
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	return c
}

func (a *app) newReload() *cobra.Command {
	var r api.ReloadRequest
	var yes bool
	c := &cobra.Command{
		Use: "reload", Short: "Make the agent read its host file again",
		Long: `Make the agent read its host file again, whole or not at all: a fault refuses it
and everything stays as it is.

A host file can newly block. Where changes go in stages (guards.rollout) a
service or an interface that is added, an allowlist line that is removed and a
reason that is accepted come in stages, as the rollout "host file"; meanwhile
what decides goes on as before, and "spillway rollout" shows it. --emergency
lets them count for everybody at once.

All else, such as max_mode raised or a guard loosened, counts at once. At a
terminal that is shown and asked first; elsewhere, and with --yes, it is done
and told. systemctl reload spillway (SIGHUP) cannot say yes: it holds such a
file, and status says so.

Exit code 1 when the host file is refused, 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error { return a.reload(c.Context(), r, yes) },
	}
	c.Flags().Var(textFlag{&r.Reason}, "reason", "why, for the history; needed to try again")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&r.Emergency, "emergency", false, "all of it counts at once, for everybody (needs --reason)")
	return c
}

// reload asks where somebody can be asked, as apply does.
func (a *app) reload(ctx context.Context, r api.ReloadRequest, yes bool) error {
	send := func(ask bool) error {
		r.Ask = ask
		return a.viaAgent(ctx, func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Reload(ctx, r) })
	}
	ask := a.stdinTTY && a.stdoutTTY && !yes
	err := send(ask)
	var held *api.Error
	if !ask || !errors.As(err, &held) || held.Code != api.CodeHeld {
		return err
	}
	fmt.Fprintln(a.stderr, "This host file can newly block:")
	for _, h := range held.Holds {
		fmt.Fprintf(a.stderr, "  %s\n", h.Text)
	}
	if err := a.confirmed(false, "Put it into force?"); err != nil {
		return err
	}
	return send(false)
}
