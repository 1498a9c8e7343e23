// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newBan() *cobra.Command {
	var r api.BanRequest
	length := time.Hour
	c := &cobra.Command{
		Use: "ban PREFIX", Short: "Block an address or prefix for a while",
		Long: `Block an address or prefix for a while, outside bundles; established connections
are cut too. An IPv6 address stands for its /64 unless a prefix length is given.
The guards of the host file hold (longest time, widest prefix, rate), and the
allowlist wins: a protected source is never banned.

Exit code 1 when it is refused, 3 when no agent answers.`,
		Args: oneArg("address or prefix"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			r.Prefix, r.ForSeconds = args[0], length.Seconds()
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
				return c.Ban(ctx, r)
			})
		},
	}
	c.Flags().Var(durationFlag{&length}, "for", "how long (10m, 2h)")
	c.Flags().Var(textFlag{&r.Reason}, "reason", "why, for the history")
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"10m", "1h", "24h"},
		cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) newUnban() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "unban PREFIX", Short: "End a ban",
		Long: `End a ban. PREFIX is what spillway bans shows, or the address that was banned.
Works without the agent, and beside one that hangs.

Exit code 1 when there is no such ban, 3 when nothing of Spillway runs here.`,
		Args: oneArg("address or prefix"), ValidArgsFunction: first(a.banned),
		RunE: func(c *cobra.Command, args []string) error {
			change, err := a.urgent(c.Context(), true,
				func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Unban(ctx, args[0], reason) },
				func(s *offline.Session) (*api.Change, error) { return s.Unban(args[0], reason) })
			if err != nil {
				return err
			}
			return a.print(change, func() { show.Change(a.stdout, change, a.style()) })
		},
	}
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	return c
}

func (a *app) newBans() *cobra.Command {
	return &cobra.Command{
		Use: "bans", Short: "List the bans", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: "List the bans, and why they block nothing where that is so.\n\nExit code 3 when nothing of Spillway runs here.",
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := ask(c.Context(), a, (*api.Client).Bans, (*offline.Session).Bans)
			if err != nil {
				return err
			}
			return a.print(list, func() { show.Bans(a.stdout, list, a.style()) })
		},
	}
}
