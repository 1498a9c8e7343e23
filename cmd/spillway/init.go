// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/userspace/discover"
)

func (a *app) newInit() *cobra.Command {
	var output string
	var force bool
	c := &cobra.Command{
		Use: "init INTERFACE", Short: "Write a host file for this host",
		Long: `Write a commented host file for this host: its services by what listens (never
SSH), and in the allowlist who is connected by SSH and the default gateway. It
observes: nothing is blocked until you raise max_mode. Nothing is started.

  spillway init eth0                    writes the file that --config names
  spillway init eth0 --output -         prints it

Exit code 1 when the file exists already (--force replaces it).`,
		Args: oneArg("interface that faces the visitors, such as eth0"), ValidArgsFunction: first(interfaceNames),
		RunE: func(_ *cobra.Command, args []string) error {
			if output == "" {
				output = a.config
			}
			return a.init(args[0], output, force)
		},
	}
	c.Flags().StringVar(&output, "output", "", "where to write it; - is stdout (default: the --config file)")
	c.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	return c
}

func (a *app) init(iface, output string, force bool) error {
	if _, err := net.InterfaceByName(iface); err != nil {
		have := interfaceNames()
		err := fmt.Errorf("there is no interface %s; there are: %s", iface, joined(have))
		if near := words.NearestName(iface, have); near != "" {
			err = fmt.Errorf("%w\n  fix: did you mean %s?", err, near)
		}
		return err
	}
	found, err := discover.Look(discover.Source{Proc: a.proc, SSHConnection: a.getenv("SSH_CONNECTION"),
		Forwards: a.lookForwards()})
	if err != nil {
		return err
	}
	facts := found.HostFacts(config.Interface{Name: iface, Attach: config.AttachNative})
	file := config.HostTemplate(facts)
	if _, err := config.ParseHost(output, file); err != nil {
		return fmt.Errorf("the proposal has faults, which is a bug; please report it:\n%w", err)
	}
	if output == "-" {
		_, err := a.stdout.Write(file)
		return err
	}
	if err := writeNew(output, file, force); err != nil {
		return err
	}
	a.tellInit(output, found, facts)
	return nil
}

func (a *app) tellInit(output string, found *discover.Host, facts config.HostFacts) {
	fmt.Fprintf(a.stdout, "Wrote %s: %d services, %d protected sources, observe.\n", output, len(facts.Services),
		len(facts.Allowlist))
	for _, s := range facts.Services {
		fmt.Fprintf(a.stdout, "  %-18s %-5s %d\n", s.Name, s.Kind, s.Port)
	}
	if len(found.Services) == 0 {
		fmt.Fprintln(a.stderr, "Nothing listens yet: change services in the file to what you serve.")
	}
	for _, l := range found.LeftOut {
		fmt.Fprintf(a.stderr, "left out: %s: %s\n", l, l.Why)
	}
	for _, note := range found.Notes {
		fmt.Fprintf(a.stderr, "%s.\n", note)
	}
	if len(found.SSHPeers) == 0 {
		fmt.Fprintln(a.stderr, "No SSH connection was found: add the addresses you administer from to the allowlist.")
	}
	fmt.Fprintf(a.stdout, "Next: read it, then `spillway doctor` and `spillway run`.\n")
}

// writeNew writes a file whole or not at all. Without force an existing one stays.
func writeNew(path string, data []byte, force bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".spillway-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if force {
		err = os.Rename(tmp.Name(), path)
	} else {
		err = os.Link(tmp.Name(), path) // fails when the file exists, with nothing between looking and writing
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already\n  fix: read it; --force replaces it, --output - prints the proposal", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
