// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newRollback() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "rollback", Short: "Go back to the previous generation",
		Long: `Make the previous generation stable again, at once, and end a candidate. It is
one store in the kernel. Works without the agent, and waits for no apply: one
that runs is not published. The bundle that was left is not applied again
without --accept.

Exit code 3 when nothing of Spillway runs here.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			change, err := a.urgent(c.Context(), false,
				func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Rollback(ctx, reason) },
				func(s *offline.Session) (*api.Change, error) { return s.Rollback(reason) })
			if errors.Is(err, loader.ErrNoPrevious) {
				return errors.New("there is no previous generation to go back to; `spillway bypass on` lets everything pass")
			}
			if err != nil {
				return err
			}
			return a.print(change, func() { show.Change(a.stdout, change, a.style()) })
		},
	}
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	return c
}
