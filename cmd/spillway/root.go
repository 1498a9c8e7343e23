// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
)

const (
	defaultConfig = "/etc/spillway/spillway.yaml"
	configEnv     = "SPILLWAY_CONFIG"

	formatTable = "table"
	formatJSON  = "json"
)

const about = `Spillway keeps bots away from a web server, in the network driver, and lets
visitors through when any part of it fails.

  To turn it off, now, whatever state it is in:   spillway bypass on
  To turn it on again:                            spillway bypass off

A first time on a host:

  spillway doctor eth0                            can it run here?
  spillway init eth0                              write the host file
  spillway run                                    start the agent (observes)
  spillway apply BUNDLE                           say what a bot looks like
  spillway status                                 see what it does

The host file is /etc/spillway/spillway.yaml, or what --config or
$SPILLWAY_CONFIG says.`

// app is one invocation.
type app struct {
	env
	config string
	format string

	lines   bool            // JSON is one object a line
	started bool            // a command began: its command line was understood
	ctx     context.Context // of that command
	located *offline.Places
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, e env, args []string) int {
	a := &app{env: e}
	root := a.newRoot()
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.fail(err, a.started)
	}
	return exitOK
}

func (a *app) newRoot() *cobra.Command {
	cobra.EnableCommandSorting = false // the order is that of groups
	root := &cobra.Command{
		Use: "spillway", Short: "A bot layer that cannot take the site down", Long: about,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if a.format != formatTable && a.format != formatJSON {
				return usage("unknown format %q; valid: %s, %s", a.format, formatTable, formatJSON)
			}
			a.printPlainly(c)
			a.started, a.ctx = true, untilHangUp(c)
			c.SetContext(a.ctx)
			return a.namedFile(c)
		},
	}
	path := a.getenv(configEnv)
	if path == "" {
		path = defaultConfig
	}
	root.PersistentFlags().StringVar(&a.config, "config", path, "host `FILE`; default "+defaultConfig)
	root.PersistentFlags().Lookup("config").DefValue = "" // told above, and short
	root.PersistentFlags().StringVarP(&a.format, "format", "o", formatTable, "table for people, json for programs")
	_ = root.RegisterFlagCompletionFunc("format",
		cobra.FixedCompletions([]string{formatTable, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w\nsee: %s --help", err, c.CommandPath())
	})
	for _, g := range a.groups() {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(a.newCompletion(), a.newVersion(), a.newPrepare(), a.newRehearse(), a.newTaste(), a.newDemo(),
		newExitCodesTopic())
	root.SetHelpCommandGroupID("")
	return root
}

// untilHangUp is the context of a command: it also ends when the terminal closes, so that the command can clean up. The
// agent takes that signal for something else, and under nohup nobody wants it.
func untilHangUp(c *cobra.Command) context.Context {
	if c.Name() == "run" || signal.Ignored(syscall.SIGHUP) {
		return c.Context()
	}
	ctx, _ := signal.NotifyContext(c.Context(), syscall.SIGHUP) // until the process ends
	return ctx
}

// withoutFile are the commands that read no host file, or write it.
var withoutFile = map[string]bool{"init": true, "run": true, "version": true, "completion": true,
	"schema": true, "example": true, "demo": true, "exit-codes": true, "help": true,
	"taste": true, "probe": true}

// namedFile refuses a host file that somebody named and that is not there: the defaults in its place would be another
// socket and other pins, and what is told would be of another Spillway.
func (a *app) namedFile(c *cobra.Command) error {
	by := "--config"
	if !c.Flags().Changed("config") {
		by = "$" + configEnv
		if a.getenv(configEnv) == "" || c.Name() == "check" { // which reads one only where there is one
			return nil
		}
	}
	if withoutFile[c.Name()] || strings.HasPrefix(c.Name(), "__") { // cobra's own, for shells
		return nil
	}
	if _, err := os.Stat(a.config); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no host file %s, which %s names; nothing was done\n"+
			"  fix: correct the name, or leave it out for %s", a.config, by, defaultConfig)
	}
	return nil
}

type group struct {
	id, title string
	commands  []*cobra.Command
}

// groups holds every command, in the order in which a person meets them.
func (a *app) groups() []group {
	return []group{
		{"emergency", "In an emergency:", []*cobra.Command{a.newBypass(), a.newRollback(), a.newDetach()}},
		{"host", "A host:", []*cobra.Command{a.newDoctor(), a.newInit(), a.newRun(), a.newReload(), a.newConfig()}},
		{"bundle", "Bundles:", []*cobra.Command{a.newPlan(), a.newApply(), a.newRollout(), a.newConfirm(),
			a.newCancel(), a.newFreeze(), a.newThaw(), a.newLists()}},
		{"look", "See what it does:", []*cobra.Command{a.newStatus(), a.newVerify(), a.newHistory(), a.newEvents(),
			a.newFingerprint()}},
		{"bans", "Bans, short blocks outside bundles:", []*cobra.Command{a.newBan(), a.newUnban(), a.newBans()}},
	}
}

// places are read once. A faulty host file is told; the command goes on with what could be read of it.
func (a *app) places() offline.Places {
	if a.located == nil {
		p := offline.Locate(a.config)
		a.located = &p
		if p.Problem != nil {
			fmt.Fprintf(a.stderr,
				"spillway: %s cannot be used as it is (spillway config check %s); taking socket %s and pins %s\n",
				a.config, a.config, p.Socket, p.Pins)
		}
	}
	return *a.located
}

// hangPatience is how long an agent may answer nothing at all before it is said to hang.
const hangPatience = 5 * time.Second

// client talks to the agent. One that is slow is waited for, and at a terminal that is told; one that hangs is not.
func (a *app) client() *api.Client {
	p := a.places()
	c := api.NewClient(p.Socket)
	c.ReadSocket, c.Patience = p.ReadSocket, hangPatience
	next := hangPatience
	c.Alive = func(since time.Duration) {
		if since >= next && a.stdoutTTY {
			next = 2 * since
			fmt.Fprintf(a.stderr, "The agent is still at work (%s).\n", since.Round(time.Second))
		}
	}
	return c
}

func (a *app) style() show.Style {
	s := show.Style{Colour: a.colour(), Now: a.now()}
	if a.stdoutTTY {
		s.Width, _ = a.screen()
	}
	return s
}

// print writes a reply for people or for programs.
func (a *app) print(reply any, table func()) error {
	if a.format == formatJSON {
		return writeJSON(a.stdout, reply)
	}
	show.Clean(reply)
	table()
	return nil
}

// oneArg wants exactly one argument and says which.
func oneArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("want one %s\nsee: %s --help", name, c.CommandPath())
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unexpected argument %q\nsee: %s --help", strings.Join(args, " "), c.CommandPath())
	}
	return nil
}
