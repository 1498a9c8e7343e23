// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
)

// newPrepare is what the unit runs with full rights before the agent (ExecStartPre=+). Nobody needs to type it.
func (a *app) newPrepare() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "prepare", Short: "Make the pin folder for the agent's user", Hidden: true,
		Long: `Make the pin folder of the host file for the agent's user, mode 0700, and give
that user what root pinned in it. Nothing else is done. A folder that belongs
to somebody else, or that others can write to, is refused.

The unit runs it as root before the agent, which has no right to make a folder
on a BPF file system that only root may write to.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if os.Geteuid() != 0 {
				return errors.New("only root can give the pin folder to another user\n  fix: run it with sudo")
			}
			uid, gid, err := rights.Lookup(name)
			if err != nil {
				return err
			}
			if err := loader.PreparePins(a.places().Pins, uid, gid); err != nil {
				return fmt.Errorf("prepare %s for user %s: %w", a.places().Pins, name, err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "user", rights.User, "the agent's user: a name, or UID:GID")
	return c
}
