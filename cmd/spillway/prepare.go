// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/rights"
)

// prepareConntrack pins what asks connection tracking. The agent works without: then only sockets vouch for
// connections. The module is loaded for services whose sockets are elsewhere; by itself it tracks nothing.
func (a *app) prepareConntrack() {
	host, err := config.LoadHost(a.config)
	if err == nil &&
		slices.ContainsFunc(host.Services, func(s config.Service) bool { return !s.Local && s.AsksConntrack() }) {
		_ = exec.Command("modprobe", "-q", "nf_conntrack").Run() // it may be built in, or there
	}
	if err := loader.PrepareConntrack(a.places().Pins); err != nil {
		fmt.Fprintf(a.stderr, "spillway: only sockets of this host will vouch for connections: %v\n  fix: %s\n",
			err, loader.FixOfConntrack(err))
	}
}

// newPrepare is what the unit runs with full rights before the agent (ExecStartPre=+). Nobody needs to type it.
func (a *app) newPrepare() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "prepare", Short: "Make the pin folder for the agent's user", Hidden: true,
		Long: `Make the pin folder of the host file for the agent's user, mode 0700, and give
that user what root pinned in it. A folder that belongs to somebody else, or
that others can write to, is refused. Where the kernel can be asked about tracked
connections, load and pin what asks: where nf_conntrack is a module, only root may.

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
			if err := pins.PrepareFolder(a.places().Pins, uid, gid); err != nil {
				return fmt.Errorf("prepare %s for user %s: %w", a.places().Pins, name, err)
			}
			a.prepareConntrack()
			return nil
		},
	}
	c.Flags().StringVar(&name, "user", rights.User, "the agent's user: a name, or UID:GID")
	return c
}
