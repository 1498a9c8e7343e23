// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// ErrNotHeld says that the demo ran to its end, or as far as it could, and a promise did not hold. The table names it.
var ErrNotHeld = errors.New("not everything held")

// Options say where the demo is shown. Only Out is required.
type Options struct {
	// Out receives everything that a person reads.
	Out io.Writer
	// TTY draws a live panel, which needs a terminal that moves its cursor. Otherwise plain lines without escapes.
	TTY bool
	// Color paints headlines and the table of a TTY. Nothing is said by colour alone.
	Color bool
	// Width of the terminal in columns, for when Out cannot be asked; 0 means 80.
	Width int
	// Log receives what happens inside; nil means nobody listens.
	Log *slog.Logger
	// Executable is the spillway binary that is run; "" means this process's own.
	Executable string
	// ForceEmbedded uses the built-in web server and clients even where nginx, curl and wget are installed.
	ForceEmbedded bool
}

// Terminal fills TTY, Color and Width for a file: NO_COLOR takes the colours, and TERM=dumb (or none) the panel.
func (o Options) Terminal(f *os.File, getenv func(string) string) Options {
	o.Width = terminalWidth(f)
	term := getenv("TERM")
	o.TTY = o.Width > 0 && term != "" && term != "dumb"
	o.Color = o.TTY && getenv("NO_COLOR") == ""
	return o
}

// show is one run of the demo.
type show struct {
	opts    Options
	screen  *screen
	ledger  ledger
	begin   time.Time
	act     atomic.Int32
	traffic traffic
	edge    edge
	known   known
	agent   *agent
	// footing is what the enforcing generation stood on; later acts compare with it.
	footing footing
}

// Run shows the demo. It needs root, takes a minute and a half, touches no interface of the machine, and leaves nothing
// behind, also when ctx ends in its middle or Out can no longer be written. Errors: ErrNotHeld, the error of ctx, or
// what kept a part from starting.
func Run(ctx context.Context, o Options) error {
	if os.Geteuid() != 0 {
		return errors.New("the demo makes network namespaces and loads BPF programs: run it as root, `sudo bin/spillway-demo`, or `sudo make demo`")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Without this a reader who leaves (`| head`) would kill the process with everything standing.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)

	s := &show{opts: o, screen: newScreen(o, cancel), ledger: newLedger(), begin: time.Now()}
	err := s.play(ctx)
	if cause := context.Cause(ctx); cause != nil {
		left := onlyCleanup(err)
		if left == nil {
			s.screen.print("", "Interrupted. Nothing is left behind.")
		}
		return errors.Join(cause, left)
	}
	s.screen.table(s.ledger)
	return s.verdict(err)
}

// verdict says the last sentence.
func (s *show) verdict(err error) error {
	took := time.Since(s.begin).Round(time.Second)
	n := s.ledger.broken()
	if err == nil && n == 0 {
		s.screen.print("", fmt.Sprintf("All %d promises held on real traffic, in %v.", s.ledger.tried(), took))
		return nil
	}
	s.screen.print("",
		fmt.Sprintf("%d of %d promises did not hold or were not reached, in %v.", n, s.ledger.tried(), took))
	if err != nil {
		return err
	}
	return ErrNotHeld
}

// cleanupError is what could not be removed.
type cleanupError struct{ err error }

func (e cleanupError) Error() string { return "clean up: " + e.err.Error() }
func (e cleanupError) Unwrap() error { return e.err }

// onlyCleanup keeps of an interrupted run's errors the one that matters: that something is left.
func onlyCleanup(err error) error {
	var c cleanupError
	if errors.As(err, &c) {
		return c
	}
	return nil
}

// play builds everything, plays the acts and takes everything down.
func (s *show) play(ctx context.Context) (err error) {
	if s.edge.exe = s.opts.Executable; s.edge.exe == "" {
		if s.edge.exe, err = os.Executable(); err != nil {
			return fmt.Errorf("find own binary: %w", err)
		}
	}
	if err := errors.Join(sweep(), lab.Sweep()); err != nil {
		s.opts.Log.Warn("leftovers of an earlier demo stay", "error", err)
	}
	defer func() {
		if left := s.takeDown(); left != nil {
			s.ledger.see(nothingIsLeft, false, "%v", left)
			err = errors.Join(err, cleanupError{left})
			return
		}
		s.ledger.see(nothingIsLeft, true, "no namespace, process, pin or file")
	}()
	if err := s.build(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	watch := s.traffic.watch // a copy: acts change the original
	wg.Go(func() { watch(watching, s.screen, s.begin, func() int { return int(s.act.Load()) }) })
	err = s.playActs(ctx)
	stop()
	wg.Wait()
	s.screen.clear()
	if ctx.Err() == nil {
		s.judgeVisitors(s.traffic.visitors.Stop())
	}
	return err
}

// judgeVisitors is the promise that counts.
func (s *show) judgeVisitors(v lab.Stats) {
	served, failures, last := v.Served(), v.Failures, v.LastError
	if b := s.traffic.browser.client; b != nil {
		sum := b.sum()
		served, failures = served+sum.served, failures+sum.asked-sum.served
		last = cmp.Or(last, b.failure())
	}
	s.ledger.see(visitorsUnharmed, v.Requests > 0 && failures == 0, "%d served, %d errors, max %s", served,
		failures, shortDuration(v.Max))
	if failures > 0 {
		s.screen.say("visitors' last error: %s", last)
	}
}

// build makes the network, lets everybody in, and says who they are.
func (s *show) build(ctx context.Context) (err error) {
	if s.edge.work, err = newWorkspace(); err != nil {
		return err
	}
	if s.edge.lab, err = lab.New(ctx, lab.Options{Name: "demo", Log: s.opts.Log}); err != nil {
		return err
	}
	if s.known, err = loadKnown(); err != nil {
		return err
	}
	if err := writeBundles(s.edge.work.dir, s.known); err != nil {
		return fmt.Errorf("write the demo's bundles: %w", err)
	}
	origin, err := s.edge.lab.StartOrigin(ctx, lab.OriginOptions{ForceEmbedded: s.opts.ForceEmbedded})
	if err != nil {
		return err
	}
	if s.traffic, err = startTraffic(ctx, s.edge.lab, s.edge.work.dir, s.edge.exe, !s.opts.ForceEmbedded); err != nil {
		return err
	}
	s.traffic.span = lookSpan
	if s.opts.TTY {
		s.traffic.span = readSpan
	}
	s.introduce(origin)
	return nil
}

func (s *show) introduce(origin lab.Origin) {
	s.screen.print(s.screen.paint(bold, "Spillway demo: real traffic between two network namespaces of its own."))
	s.screen.say("This machine's own interfaces are not touched.")
	s.screen.wrap("  origin    ", "            ", origin.Name()+", TLS, IPv4 and IPv6"+s.instead(origin.Name(), "nginx"))
	clients := slices.Clone(s.traffic.visitors.Clients())
	if b := s.traffic.browser.client; b != nil {
		clients = append(clients, b.name)
	}
	all := strings.Join(clients, ", ")
	s.screen.wrap("  visitors  ", "            ", all+s.instead(all, "curl", "wget"))
	var names []string
	for _, b := range s.traffic.bots.all {
		names = append(names, b.name)
	}
	s.screen.wrap("  bots      ", "            ",
		fmt.Sprintf("a raw SYN scanner; a crawler in %s, %s; and at the visitors' own addresses %s",
			lab.CrawlerPrefix4, lab.CrawlerPrefix6, strings.Join(names, ", ")))
	for _, left := range s.traffic.left() {
		s.screen.say("%s", left)
	}
	if !s.opts.TTY {
		s.screen.say("Every 2 s: how visitors fare, and what the scanner (SYN), the crawler (net) and the others (JA4) got of what they asked.")
	}
}

// instead says why a real program is not taking part.
func (s *show) instead(taking string, programs ...string) string {
	var missing []string
	for _, p := range programs {
		if !strings.Contains(strings.ToLower(taking), p) {
			missing = append(missing, p)
		}
	}
	switch {
	case len(missing) == 0:
		return ""
	case s.opts.ForceEmbedded:
		return " (without " + strings.Join(missing, " and ") + ", as asked)"
	}
	return " (" + strings.Join(missing, " and ") + ": not installed)"
}

// takeDown removes everything in the order in which it depends on each other. What cannot be removed is in the error.
func (s *show) takeDown() error {
	if s.agent != nil {
		s.agent.stop()
	}
	s.traffic.stop()
	var errs []error
	if s.edge.work != nil {
		errs = append(errs, s.edge.work.Close())
	}
	if s.edge.lab != nil {
		errs = append(errs, s.edge.lab.Close())
	}
	errs = append(errs, s.edge.leftovers()...)
	return errors.Join(errs...)
}

// leftovers looks for what Close promised to remove.
func (e *edge) leftovers() []error {
	var paths []string
	if e.work != nil {
		paths = append(paths, e.work.dir)
	}
	if e.lab != nil {
		paths = append(paths, e.lab.Edge.Path(), e.lab.Out.Path())
	}
	var errs []error
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			errs = append(errs, fmt.Errorf("%s is still there", p))
		}
	}
	return errs
}
