// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/feed"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/fetch"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newLists() *cobra.Command {
	c := &cobra.Command{
		Use: "lists", Short: "Look at address lists that others publish",
		Long: "Look at address lists that others publish, before a bundle names them.",
		RunE: wantSubcommand,
	}
	c.AddCommand(a.newListsProbe())
	return c
}

// probed is how much of a list is looked at.
const probed = 1 << 20

func (a *app) newListsProbe() *cobra.Command {
	return &cobra.Command{
		Use: "probe FILE|URL", Short: "Say how a list is written, and what to write into a bundle",
		Long: `Read the first MiB of a list, say in which format it is and what a bundle would
put right in it, and print the block to paste below features.prefixes.

  spillway lists probe lists/trackers.csv
  spillway lists probe https://lists.example.com/drop.txt

A URL is https or http, on a public address, wherever it redirects to, and
answers within 15 s. Nothing is stored.

Exit code 1 when it is no list that can be read: what it is instead is told.`,
		Args: oneArg("list: a FILE or a URL"), ValidArgsFunction: files("txt", "csv", "json", "netset", "list"),
		RunE: func(c *cobra.Command, args []string) error { return a.probeList(c.Context(), args[0]) },
	}
}

// foundList is the reply of lists probe.
type foundList struct {
	api.Envelope
	Name   string      `json:"name"` // as it was given
	Format feed.Format `json:"format"`
	// Whole says that all of it was looked at, and not the beginning alone.
	Whole bool `json:"whole"`
	IPv4  int  `json:"ipv4"`
	IPv6  int  `json:"ipv6"`
	// Rows are those that were looked at, and what a bundle would do to them.
	Rows config.ListCounts `json:"rows"`
	Bad  []foundBad        `json:"bad,omitempty"` // the first bad rows
	// Block is the YAML to paste, by lines.
	Block []string `json:"block"`
}

type foundBad struct {
	Line    int    `json:"line"`
	Text    string `json:"text"`
	Problem string `json:"problem"`
}

func (a *app) probeList(ctx context.Context, name string) error {
	head, whole, file, err := a.headOf(ctx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f, err := feed.Probe(head, whole)
	var misfit *feed.Misfit
	if errors.As(err, &misfit) {
		fault := yaml.Fault{Code: yaml.CodeFormat, File: name, Line: misfit.At.Line, Column: misfit.At.Column,
			Problem: misfit.Problem, Valid: misfit.Valid}
		fault.Excerpt = excerptOf(head, misfit.At)
		faults := yaml.NewCollector()
		faults.Add(fault)
		return faults.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	list := listName(file)
	reply := foundList{Envelope: api.NewEnvelope(), Name: name, Format: f.Format, Whole: whole, IPv4: f.IPv4, IPv6: f.IPv6,
		Rows: config.ListCounts{List: list, Rows: f.Rows, Prefixes: f.IPv4 + f.IPv6, Bad: f.Rows - f.Good, Masked: f.Masked,
			Unmapped: f.Unmapped, Split: f.Split, Duplicates: f.Duplicates},
		Block: f.Block(list, file, whole)}
	if reply.Format == "" {
		reply.Format = feed.Plain
	}
	for _, b := range f.Bad {
		reply.Bad = append(reply.Bad, foundBad{b.Line, words.Shorten(b.Text), b.Problem})
	}
	return a.print(reply, func() { a.tellList(&reply) })
}

func (a *app) tellList(r *foundList) {
	of := "all of it"
	if !r.Whole {
		of = "its first MiB"
	}
	fmt.Fprintf(a.stdout, "%s: format %s; in %s %s, %s IPv4 and %s IPv6\n", r.Name, r.Format, of,
		show.Plural(r.Rows.Rows, "row"), show.Count(r.IPv4), show.Count(r.IPv6))
	for _, line := range show.Lists([]config.ListCounts{r.Rows}) {
		fmt.Fprintln(a.stdout, line)
	}
	for _, b := range r.Bad {
		fmt.Fprintf(a.stdout, "  line %d: %q %s\n", b.Line, b.Text, b.Problem)
	}
	fmt.Fprintf(a.stdout, "\nTo paste below features.prefixes, with a rule of yours:\n\n    %s\n", strings.Join(r.Block, "\n    "))
}

// headOf reads the beginning of a list; file is what a bundle may call it.
func (a *app) headOf(ctx context.Context, name string) (head []byte, whole bool, file string, err error) {
	if strings.Contains(name, "://") {
		at, err := url.Parse(name)
		if err != nil {
			return nil, false, "", err
		}
		head, whole, err = fetch.Head(ctx, name, probed, a.fetch)
		return head, whole, "lists/" + fileName(path.Base(at.Path)), err
	}
	f, err := yaml.OpenFile(os.DirFS(filepath.Dir(name)), filepath.Base(name), yaml.MaxListBytes)
	if err != nil {
		return nil, false, "", errors.New(yaml.FileFault(name, err).Problem)
	}
	defer f.Close()
	head, err = io.ReadAll(io.LimitReader(f, probed+1))
	whole = len(head) <= probed
	return head[:min(len(head), probed)], whole, "lists/" + fileName(filepath.Base(name)), err
}

var unfit = regexp.MustCompile(`[^a-z0-9._-]+`)

// fileName makes a name of a list file of one that somebody else gave.
func fileName(base string) string {
	name := strings.Trim(unfit.ReplaceAllString(strings.ToLower(base), "-"), "-._")
	if name == "" {
		return "feed.txt"
	}
	return name[:min(len(name), 48)]
}

// listName makes the name of a list of that of its file.
func listName(file string) string {
	base := path.Base(file)
	return strings.TrimSuffix(base, path.Ext(base))
}

// excerptOf returns the line of a place; "" where it is none that a person could read.
func excerptOf(head []byte, at yaml.Position) string {
	text := ""
	_ = feed.Lines(bytes.NewReader(head), func(line []byte, n int) error {
		if n == at.Line {
			text = yaml.Excerpt(string(line), at)
			return errEnough
		}
		return nil
	})
	return text
}
