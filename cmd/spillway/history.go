// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newHistory() *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use: "history", Short: "Show who changed what, when and why",
		Long: `Show who changed what, when, why and with which outcome, newest first; also what
was refused, and what went back by itself. Works without the agent, from its
file.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), patience)
			defer cancel()
			if limit < 0 {
				return usage("--limit wants a number from 0 (all) on")
			}
			client := a.client()
			defer client.Close()
			h, err := client.History(ctx, limit)
			if a.silent(c.Context(), err) {
				a.tellHung(err)
				h, err = offline.History(a.places(), limit)
			}
			if err != nil {
				return err
			}
			return a.print(h, func() { show.History(a.stdout, h, a.style()) })
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", limit, "how many; 0 is all")
	return c
}

func (a *app) newEvents() *cobra.Command {
	recent, follow := 20, false
	c := &cobra.Command{
		Use: "events", Short: "Show single decisions",
		Long: `Show the last decisions, one line each, and with --follow new ones as they come,
until interrupted. Decisions are sampled and rate-limited: counts are in
spillway status. With -o json it is one JSON object a line.

Exit code 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error { return a.events(c.Context(), recent, follow) },
	}
	c.Flags().IntVarP(&recent, "recent", "n", recent, "how many of the last ones, at most 1000")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new ones")
	return c
}

func (a *app) events(ctx context.Context, recent int, follow bool) error {
	client := a.client()
	defer client.Close()
	headed := a.format == formatJSON
	err := client.Events(ctx, recent, follow, func(e api.Event) error {
		if a.format == formatJSON {
			return writeLine(a.stdout, e)
		}
		if !headed {
			headed = true
			show.EventHeading(a.stdout)
		}
		show.Clean(&e)
		show.Event(a.stdout, e)
		return nil
	})
	if err == nil && !headed {
		fmt.Fprintln(a.stderr, "No decisions to show yet.")
	}
	if ctx.Err() != nil {
		return nil // interrupted: that is how a person ends it
	}
	return err
}
