// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

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
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Confirm(ctx, reason) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the history")
	return c
}

func (a *app) newReload() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reload", Short: "Make the agent read its host file again",
		Long: `Make the agent read its host file again, whole or not at all: a fault refuses it
and everything stays as it is. systemctl reload spillway does the same.

Exit code 1 when the host file is refused, 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Reload(ctx, reason) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the history")
	return c
}
