// SPDX-License-Identifier: Apache-2.0

// Command spillway-demo shows what Spillway does, on real traffic, in namespaces of its own. It runs the spillway that
// lies beside it, and is a program of its own so that the one on an edge has neither a scanner nor a network to scan in
// it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/demo"
)

// The exit codes are those of spillway.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 64
)

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // the terminal closes, and this is not under nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	code := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

// run shows the demo and returns its exit code.
func run(ctx context.Context, stdout, stderr io.Writer, args []string) int {
	began := false
	c := newCommand(stdout, stderr, &began)
	c.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	c.SetOut(stdout)
	c.SetErr(stderr)
	err := c.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, demo.ErrNotHeld): // the table has said which
		return exitError
	case toldAlready(ctx, err):
		return exitError
	}
	fmt.Fprintf(stderr, "spillway-demo: %v\n", err)
	if !began {
		return exitUsage
	}
	return exitError
}

func newCommand(stdout, stderr io.Writer, began *bool) *cobra.Command {
	var embedded, verbose bool
	var spillway string
	c := &cobra.Command{
		Use: "spillway-demo", Short: "Watch Spillway work on real traffic, in namespaces of its own",
		Long: `Build a small network of namespaces with a web server, visitors and bots, and
show what Spillway does: observe, enforce, limit, refuse a bad bundle, survive
the death of its agent, roll back, bypass. It takes about two minutes, touches
no interface of this machine, and leaves nothing behind. It needs root.

Exit code 0 only when every promise held.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			*began = true
			o := demo.Options{Out: stdout, ForceEmbedded: embedded, Executable: spillway}
			if f, ok := stdout.(*os.File); ok {
				o = o.Terminal(f, os.Getenv)
			}
			if verbose {
				o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			return demo.Run(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&embedded, "embedded", false, "use the built-in web server and clients only")
	c.Flags().BoolVar(&verbose, "verbose", false, "log what happens inside, on stderr")
	c.Flags().StringVar(&spillway, "spillway", beside("spillway"), "the spillway `BINARY` that is shown")
	return c
}

// beside returns the path of a file in the folder of this program.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

// toldAlready reports whether the demo ended early, cleaned up and said so, or had nobody left to say it to (`| head`).
// What could not be removed stands beside the cause and must be told.
func toldAlready(ctx context.Context, err error) bool {
	var all interface{ Unwrap() []error }
	return errors.As(err, &all) && len(all.Unwrap()) == 1 && (ctx.Err() != nil || errors.Is(err, syscall.EPIPE))
}
