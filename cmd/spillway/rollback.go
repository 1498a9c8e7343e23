// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
	"github.com/spillway/spillway/userspace/state"
)

func (a *app) newRollback() *cobra.Command {
	var r api.RollbackRequest
	c := &cobra.Command{
		Use: "rollback", Short: "Go back to a generation of before",
		Long: `Make the previous generation stable again, at once, and end a candidate. It is
one store in the kernel. Works without the agent and beside one that hangs, and
waits for no apply: one that runs is not published. The bundle that was left is
not applied again without --accept.

  spillway rollback                what decided before
  spillway rollback --bundle feed  one bundle: its version before; others stay
  spillway rollback --to 7         generation 7: any that spillway status lists
  spillway rollback --to observe   judge everything, block nothing
  spillway rollback --to empty     no bundle: only bans block

A generation that is no longer in the kernel, and one bundle, is built again
from the state folder; that takes an agent. After --to observe, spillway reload
blocks again.

Exit code 3 when nothing of Spillway runs here.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if r.Bundle != "" {
				return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
					return c.RollbackTo(ctx, r)
				})
			}
			change, err := a.urgent(c.Context(), false,
				func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.RollbackTo(ctx, r) },
				func(s *offline.Session) (*api.Change, error) { return s.Rollback(r) })
			if err != nil {
				return err
			}
			return a.print(change, func() { show.Change(a.stdout, change, a.style()) })
		},
	}
	c.Flags().Var(textFlag{&r.To}, "to", "where to: the number of a generation, observe, empty")
	c.Flags().Var(textFlag{&r.Bundle}, "bundle", "only this bundle, to its version before")
	c.Flags().Var(textFlag{&r.Reason}, "reason", "why, for the history")
	_ = c.RegisterFlagCompletionFunc("to", values(a.waysBack))
	return c
}

// waysBack completes where a rollback can go, with what each is. The record says it also while the agent hangs.
func (a *app) waysBack() []string {
	var out []string
	p := a.places()
	for _, g := range state.Peek(p.State).Stored() {
		if state.HasBundle(p.State, g.Digest) || len(g.Members) > 1 {
			out = append(out, fmt.Sprintf("%d\t%s", g.Number, g.Name()))
		}
	}
	return append(out, api.ToObserve+"\tblock nothing", api.ToEmpty+"\tno bundle")
}
