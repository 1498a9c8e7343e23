// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/demo"
)

func (a *app) newDemo() *cobra.Command {
	var embedded, verbose bool
	c := &cobra.Command{
		Use: "demo", Short: "Watch it work on real traffic, in namespaces of its own",
		Long: `Build a small network of namespaces with a web server, visitors and bots, and
show what Spillway does: observe, enforce, refuse a bad bundle, survive the
death of its agent, roll back, bypass. It takes about two minutes, touches no
interface of this machine, and leaves nothing behind. It needs root.

Exit code 0 only when every promise held.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			o := demo.Options{Out: a.stdout, ForceEmbedded: embedded}
			if f, ok := a.stdout.(*os.File); ok {
				o = o.Terminal(f, a.getenv)
			}
			if verbose {
				o.Log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			err := demo.Run(c.Context(), o)
			if errors.Is(err, demo.ErrNotHeld) {
				return with(exitError) // the table has said which
			}
			if toldAlready(c.Context(), err) {
				return with(exitError)
			}
			return err
		},
	}
	c.Flags().BoolVar(&embedded, "embedded", false, "use the built-in web server and clients only")
	c.Flags().BoolVar(&verbose, "verbose", false, "log what happens inside, on stderr")
	return c
}

// toldAlready reports whether the demo ended early, cleaned up and said so, or had nobody left to say it to (`| head`).
// What could not be removed stands beside the cause and must be told.
func toldAlready(ctx context.Context, err error) bool {
	var all interface{ Unwrap() []error }
	return errors.As(err, &all) && len(all.Unwrap()) == 1 && (ctx.Err() != nil || errors.Is(err, syscall.EPIPE))
}
