// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/taste"
)

// newTaste is what the agent starts to try a generation.
func (a *app) newTaste() *cobra.Command {
	var memory uint64
	var golden bool
	c := &cobra.Command{
		Use: taste.Command, Short: "Build a generation aside and try it", Hidden: true,
		Long: `Read a request from stdin, compile the stored bundles that it names, build their
maps, pin them, show them the golden clients, and write a result to stdout. The
agent starts it, and puts what it built into a slot. It gives up all rights but
to make maps before it reads anything.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error { return taste.Run(a.stdin, a.stdout, memory, golden) },
	}
	c.Flags().Uint64Var(&memory, "memory", 0, "bytes that it may have; 0: no limit")
	c.Flags().BoolVar(&golden, "golden", false, "load a second instance for golden clients")
	return c
}
