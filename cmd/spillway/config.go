// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/show"
)

const (
	kindHost   = "host"
	kindBundle = "bundle"
	kindPairs  = "pairs"
)

func (a *app) newConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Check files, print schemas and examples",
		Long: "Check a host file or a bundle, and print the JSON Schema or an example of either.",
		RunE: wantSubcommand,
	}
	c.AddCommand(a.newConfigCheck(), a.newConfigSchema(), a.newConfigExample())
	return c
}

// wantSubcommand is what a command does that is only there for those below it.
func wantSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	if near := words.NearestName(args[0], names); near != "" {
		return usage("unknown command %q for %q\n\nDid you mean this?\n\t%s", args[0], c.CommandPath(), near)
	}
	return usage("unknown command %q for %q", args[0], c.CommandPath())
}

func (a *app) newConfigCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Tell everything that is wrong with a host file or bundle",
		Long: `Tell everything that is wrong with a host file or a bundle, which is recognised
by its content; a folder is a bundle. A bundle is checked against the host file
when there is one (--config). No agent is needed.

Exit code 0 when it is sound, 1 when it has faults.`,
		Args: oneArg("file: a host file or a bundle"), ValidArgsFunction: files("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error { return a.check(args[0]) },
	}
}

// checked is the reply of config check.
type checked struct {
	api.Envelope
	File   string        `json:"file"`
	Kind   string        `json:"kind"`
	OK     bool          `json:"ok"`
	Digest config.Digest `json:"digest,omitzero"`
	// Lists say what became of the rows of each list of a bundle, by name.
	Lists    []config.ListCounts `json:"lists,omitempty"`
	Faults   *api.FaultReport    `json:"faults,omitempty"`
	Warnings []yaml.Fault        `json:"warnings,omitempty"`
}

func (a *app) check(path string) error {
	kind, err := kindOf(path)
	if err != nil {
		return err
	}
	reply := checked{Envelope: api.NewEnvelope(), File: path, Kind: kind}
	var says string
	if kind == kindHost {
		var h *config.Host
		if h, err = config.LoadHost(path); err == nil {
			says = fmt.Sprintf("a sound host file: %s, %s, %s",
				count(len(h.Interfaces), "interface"), count(len(h.Services), "service"), h.MaxMode)
			if known, cerr := catalogue.Load(); cerr == nil {
				reply.Warnings = hostfile.Unknown(path, h, known)
			}
		}
	} else {
		says, err = a.checkBundle(path, &reply)
	}
	var faults *yaml.Faults
	if errors.As(err, &faults) {
		reply.Faults = &api.FaultReport{List: faults.List, Total: faults.Total, Counts: faults.Counts}
		if a.format == formatTable {
			fmt.Fprintf(a.stderr, "%s\n%s: %s, %s\n", faults, path,
				map[string]string{kindHost: "a host file", kindBundle: "a bundle"}[kind], count(faults.Total, "fault"))
		} else if err := writeJSON(a.stdout, reply); err != nil {
			return err
		}
		return with(exitError)
	}
	if err != nil {
		return err
	}
	reply.OK = true
	return a.print(reply, func() {
		a.warnings(reply.Warnings)
		fmt.Fprintf(a.stdout, "%s: %s\n", path, says)
	})
}

func (a *app) checkBundle(path string, reply *checked) (string, error) {
	host := a.places().Host
	b, err := config.LoadBundle(path, host, a.bundleOptions())
	if err != nil {
		return "", err
	}
	reply.Digest, reply.Warnings, reply.Lists = b.Digest, b.Warnings, b.Lists
	against := "checked without a host file: capacities and guards are the defaults,\n  names of services are not checked"
	if host != nil {
		against = "checked against " + a.config
	}
	lines := append([]string{"a sound bundle", aboutBundle(b)}, show.Lists(b.Lists)...)
	return strings.Join(append(lines, against), "\n  "), nil
}

func aboutBundle(b *config.Bundle) string {
	v4, v6 := b.PrefixCount()
	parts := []string{b.Name + " " + b.Digest.Short(), count(len(b.Rules), "rule"),
		fmt.Sprintf("%d IPv4 and %d IPv6 prefixes", v4, v6)}
	for _, t := range b.Tallies() {
		parts = append(parts, count(t.Count, t.One))
	}
	return strings.Join(parts, ", ")
}

func (a *app) newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema host|bundle", Short: "Print the JSON Schema of a file, for editors",
		Args: oneArg("kind: host or bundle"), ValidArgs: []string{kindHost, kindBundle},
		RunE: func(_ *cobra.Command, args []string) error {
			var schema []byte
			switch args[0] {
			case kindHost:
				schema = config.HostSchema()
			case kindBundle:
				schema = config.BundleSchema()
			default:
				return usage("want host or bundle, not %q", args[0])
			}
			_, err := a.stdout.Write(schema)
			return err
		},
	}
}

func (a *app) newConfigExample() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "example host|bundle|pairs", Short: "Print a commented example of a file",
		Long: `Print a commented example of a host file or a bundle. The example bundle names
list files; --dir writes it with them into a new folder. pairs is a bundle to
apply beside yours: it tags connections whose SYN and ClientHello are not of
one system, and says why.`,
		Args: oneArg("kind: host, bundle or pairs"), ValidArgs: []string{kindHost, kindBundle, kindPairs},
		RunE: func(_ *cobra.Command, args []string) error {
			name := map[string]string{kindHost: "spillway.yaml", kindBundle: config.BundleFile, kindPairs: "pairs.yaml"}[args[0]]
			if name == "" {
				return usage("want host, bundle or pairs, not %q", args[0])
			}
			if dir != "" {
				return a.writeExample(name, dir)
			}
			data, err := config.Examples.ReadFile("examples/" + name)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "write it, with the files it names, into this folder")
	return c
}

func (a *app) writeExample(name, dir string) error {
	return fs.WalkDir(config.Examples, "examples", func(path string, e fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, "examples/")
		if err != nil || e.IsDir() || !strings.Contains(rel, "/") && rel != name || name != config.BundleFile && rel != name {
			return err
		}
		data, err := config.Examples.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(rel))
		if err := writeNew(to, data, false); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, to)
		return nil
	})
}

// kindOf tells a host file from a bundle by its top-level keys, whatever else is wrong with it; when they say nothing,
// by its name.
func kindOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	if info.IsDir() {
		return kindBundle, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	host, bundle := 0, 0
	for line := range strings.Lines(string(data)) {
		key, _, _ := strings.Cut(line, ":") // a top-level key begins in the first column
		switch key {
		case "interfaces", "services", "max_mode", "allowlist", "accept_reasons", "capacity", "guards", "listen", "paths",
			"privacy":
			host++
		case "name", "rules", "features", "policy", "intent":
			bundle++
		}
	}
	if bundle > host || bundle == host && strings.Contains(filepath.Base(path), kindBundle) {
		return kindBundle, nil
	}
	return kindHost, nil
}
