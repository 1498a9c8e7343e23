// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/agent"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

func (a *app) newRun() *cobra.Command {
	var level slog.Level
	var format string
	c := &cobra.Command{
		Use: "run", Short: "Run the agent",
		Long: `Run the agent in the foreground, as systemd does. It adopts what the kernel
enforces, attaches to the interfaces of the host file, and answers on the
socket. Stopping it detaches nothing: the kernel goes on, for
guards.agent_timeout. SIGHUP makes it read the host file again. A host file that
is refused does not end it: it starts with the last one that was in force.

When the kernel part cannot be loaded or attached it does not exit: the site is
served unprotected, status says so, and it tries again.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := a.logger(format, level)
			if err != nil {
				return err
			}
			return a.runAgent(c.Context(), log)
		},
	}
	c.Flags().TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	c.Flags().StringVar(&format, "log-format", "auto", "json, text, or auto (json unless at a terminal)")
	c.Flags().Lookup("log-format").DefValue = "" // told beside it
	_ = c.RegisterFlagCompletionFunc("log-level",
		cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("log-format",
		cobra.FixedCompletions([]string{"auto", "json", "text"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) runAgent(ctx context.Context, log *slog.Logger) error {
	file, err := a.goodHostFile(log)
	if err != nil {
		return err
	}
	// Whoever reads the log may go away; that must not end the agent.
	signal.Ignore(syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	reload := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				select {
				case reload <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	renewed, _ := strconv.Atoi(a.getenv(renewedEnv)) // 0 when somebody wrote nonsense
	err = agent.Run(ctx, agent.Options{
		Host: file.Host, HostText: file.Text, HostPath: a.config, Version: version, Log: log, Now: a.now,
		Notify: sdnotify.New(a.getenv), Reload: reload,
		Renewed: max(renewed, 0),
	})
	if errors.Is(err, agent.ErrRenew) && ctx.Err() == nil {
		log.Warn("the agent starts itself in a new process", "reason", err, "times", renewed+1)
		return a.renew(renewed + 1)
	}
	if errors.Is(err, agent.ErrRenew) {
		return nil // it was asked to stop meanwhile
	}
	return err
}

// goodHostFile reads the host file. A site that is protected must not lose its agent to a mistake in that file, and
// with it everything once guards.agent_timeout is over: where the file is refused, the last one that was in force
// counts. A first start has none.
func (a *app) goodHostFile(log *slog.Logger) (*hostfile.File, error) {
	file, err := hostfile.Read(a.config)
	if err == nil {
		return file, nil
	}
	folder := offline.Locate(a.config).State
	kept, kerr := state.ReadHost(folder)
	if kerr == nil && kept.Path == absolute(a.config) {
		if file, kerr = hostfile.Parse(a.config, []byte(kept.Text)); kerr == nil {
			log.Error("the host file is refused; the agent starts with the last good one",
				"file", a.config, "kept_in", folder, "since", kept.At, "faults", err)
			return file, nil
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no host file %s\n  fix: write one with `spillway init INTERFACE`", a.config)
	}
	return nil, err
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// renewedEnv tells a process how many before it could not go on.
const renewedEnv = "SPILLWAY_RENEWED"

// becomeAgain replaces this process by a new one of the same program, arguments and rights, under the same number: the
// service manager sees one process that goes on. It returns only when that fails.
func becomeAgain(renewed int) error {
	if err := os.Setenv(renewedEnv, strconv.Itoa(renewed)); err != nil {
		return fmt.Errorf("start in a new process: %w", err)
	}
	return fmt.Errorf("start in a new process: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// logger writes JSON for machines and text for a person. Everything goes to stderr.
func (a *app) logger(format string, level slog.Level) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	if format == "auto" {
		format = "json"
		if f, ok := a.stderr.(*os.File); ok && isTTY(f) && !a.underJournal(f) {
			format = "text"
		}
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(a.stderr, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(a.stderr, o)), nil
	}
	return nil, usage("unknown log format %q; valid: auto, json, text", format)
}

// underJournal reports whether stderr is the one that systemd connected to its journal: JOURNAL_STREAM names it by
// device and inode, and is inherited by shells where stderr is something else (systemd.exec(5)).
func (a *app) underJournal(f *os.File) bool {
	var st syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return a.getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
