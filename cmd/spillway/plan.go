// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newPlan() *cobra.Command {
	return &cobra.Command{
		Use: "plan BUNDLE", Short: "Show what a bundle would change",
		Long: `Validate a bundle and show what an apply would add (+), remove (-) and change
(~) against the bundle that is applied now. Nothing is changed. BUNDLE is its
YAML file or the folder with a bundle.yaml.

Exit code 0 without changes, 2 with changes, 1 when the bundle is refused.`,
		Args: oneArg("bundle: its YAML file or folder"), ValidArgsFunction: files("yaml", "yml"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.plan(c.Context(), args[0])
			if err != nil {
				return a.withoutAgent(args[0], err)
			}
			return a.showPlan(p)
		},
	}
}

func (a *app) plan(ctx context.Context, path string) (*api.Plan, error) {
	upload, err := api.Pack(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bundlePatience)
	defer cancel()
	client := a.client()
	defer client.Close()
	return client.Plan(ctx, upload)
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
