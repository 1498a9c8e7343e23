// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Check that the kernel holds what it should",
		Long: `Compare what the kernel holds with what it should hold: every row of every
generation, the programs, the links. Without the agent only the wiring can be
checked.

Exit code 0 when all was checked and nothing differs, 4 when something differs
or could not be checked, 3 when nothing of Spillway runs here.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			viaPins := false
			v, err := ask(c.Context(), a, (*api.Client).Verify, func(s *offline.Session) (*api.Verification, error) {
				viaPins = true
				return s.Verify()
			})
			if err != nil {
				return err
			}
			if viaPins {
				fmt.Fprintln(a.stderr, "No agent answers; checking the pinned maps.")
			}
			if err := a.print(v, func() { show.Verification(a.stdout, v, a.style()) }); err != nil {
				return err
			}
			if !v.OK {
				return with(exitDegraded)
			}
			return nil
		},
	}
}
