// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newPlan() *cobra.Command {
	var remove string
	c := &cobra.Command{
		Use: "plan [BUNDLE]", Short: "Show what a bundle would change",
		Long: `Validate a bundle and show what an apply would add (+), remove (-) and change
(~) against the bundle of its name that is in force. Nothing is changed. BUNDLE
is its YAML file or the folder with a bundle.yaml; --remove NAME takes one out,
by itself or as the other comes.

Exit code 0 without changes, 2 with changes, 1 when the bundle is refused.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && remove != "" {
				return nil
			}
			return oneArg("bundle: its YAML file or folder")(c, args)
		},
		ValidArgsFunction: files("yaml", "yml"),
		RunE: func(c *cobra.Command, args []string) error {
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			p, err := a.plan(c.Context(), path, remove)
			if err != nil && path != "" {
				return a.withoutAgent(path, err)
			}
			if err != nil {
				return err
			}
			return a.showPlan(p)
		},
	}
	c.Flags().Var(textFlag{&remove}, "remove", "take the bundle of this name out")
	return c
}

func (a *app) plan(ctx context.Context, path, remove string) (*api.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, bundlePatience)
	defer cancel()
	client := a.client()
	defer client.Close()
	if path == "" {
		return client.PlanRemoval(ctx, remove)
	}
	upload, err := api.Pack(path)
	if err != nil {
		return nil, err
	}
	return client.Plan(ctx, upload, remove)
}

func (a *app) showPlan(p *api.Plan) error {
	a.warnings(p.Warnings)
	if err := a.print(p, func() { show.Plan(a.stdout, p, a.style()) }); err != nil {
		return err
	}
	if p.Changes {
		return with(exitChanges)
	}
	return nil
}
