// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// newDemo says where the demo went: it brings a network and bots along, and this program runs on edges.
func (a *app) newDemo() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Say where the demo is", Hidden: true,
		Long: `The demo is a program of its own, spillway-demo: it brings a network and bots
along, which no edge needs. In the source tree, make demo builds and shows it.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return usage("the demo is a program of its own, spillway-demo\n  fix: run `make demo` in the source tree, which builds and shows it")
		},
	}
}
