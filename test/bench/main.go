// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/lab"
)

func main() {
	if is, err := beTheChild(); is {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options of one run.
type options struct {
	out    string
	parts  []string
	rounds int
	rows   *regexp.Regexp

	serve   bool
	shuffle uint64
	runs    int
	against string // a binary
	title   string
	loads   int
}

var allParts = []string{"programs", "places", "effects", "live", "web", "host"}

func parseOptions(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.out, "o", "", "write the page to this file instead of standard output")
	parts := flags.String("parts", strings.Join(allParts, ","), "what to measure")
	flags.IntVar(&o.rounds, "rounds", fullSizes.rounds, "rounds of program runs")
	rows := flags.String("rows", "", "of the program runs, only rows that this expression finds")
	flags.BoolVar(&o.serve, "serve", false, "measure a round of program runs for each line of standard input")
	flags.Uint64Var(&o.shuffle, "shuffle", 0, "load other programs first, as many as this number says; 0: none")
	flags.IntVar(&o.runs, "runs", 0, "measure what targets are about again, in so many fresh processes")
	flags.StringVar(&o.against, "against", "",
		"a binary of this benchmark from another commit: compare with it, and nothing else")
	flags.StringVar(&o.title, "title", "", "what the other build is")
	flags.IntVar(&o.loads, "loads", 5, "how often both builds are loaded anew, with -against")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.parts = strings.Split(*parts, ",")
	for _, p := range o.parts {
		if !slices.Contains(allParts, p) {
			return o, fmt.Errorf("-parts: %q is none of %v", p, allParts)
		}
	}
	if *rows != "" {
		if o.rows, err = regexp.Compile(*rows); err != nil {
			return o, fmt.Errorf("-rows: %w", err)
		}
	}
	return o, nil
}

// run measures and writes the page; progress goes to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("loading programs and making network namespaces needs root")
	}
	if o.against != "" {
		return compare(ctx, o, out)
	}
	if o.shuffle != 0 {
		if err := shuffle(o.shuffle); err != nil {
			return err
		}
	}
	r := &results{began: time.Now(), machine: describeMachine(), sizes: fullSizes,
		webTimes: webTimes{warm: 2 * time.Second, watch: 5 * time.Second}}
	r.sizes.rounds = o.rounds
	if r.sizes.serve = o.serve; o.serve {
		return measure(ctx, o, r, log)
	}
	if err := measure(ctx, o, r, log); err != nil {
		return err
	}
	if o.runs > 0 && len(r.sections) > 0 {
		fmt.Fprintln(log, "bench: the same in fresh processes")
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		if r.runs, err = repeat(ctx, self, r.keys(r.programTargets()), o.runs, o.rounds); err != nil {
			return err
		}
	}
	r.took = time.Since(r.began)
	if o.out == "" {
		return r.write(out)
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	return errors.Join(r.write(f), f.Close())
}

// compare writes the section that puts this build beside another.
func compare(ctx context.Context, o options, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	rows := ""
	if o.rows != nil {
		rows = o.rows.String()
	}
	d, err := fight(ctx, self, o.against, rows, o.loads, o.rounds)
	if err != nil {
		return err
	}
	var b strings.Builder
	d.write(&b, o.title)
	_, err = io.WriteString(out, b.String())
	return err
}

// measure runs the parts one after the other in one lab.
func measure(ctx context.Context, o options, r *results, log io.Writer) (err error) {
	l, err := lab.New(ctx, lab.Options{Name: "bench"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	filter, err := loadXDPFilter(l, listedSources())
	if err != nil {
		return err
	}
	if filter == nil {
		r.missing = append(r.missing, "xdp-filter is not installed (Debian: xdp-tools)")
	} else {
		defer func() { err = errors.Join(err, filter.close()) }()
	}
	for _, p := range []struct {
		name string
		run  func() error
	}{
		{"programs", func() error { return r.runPrograms(l, filter, o.rows) }},
		{"places", func() (err error) { r.places, err = measurePlaces(betweenHellos); return }},
		{"effects", func() error { return r.runEffects() }},
		{"live", func() error { return r.runLive(l, filter) }},
		{"web", func() error { return r.runWeb(ctx, l) }},
		{"host", func() (err error) { r.host, err = measureHost(ctx, l, 1_000_000, fullAgentTimes); return }},
	} {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintf(log, "bench: %s\n", p.name)
		if err := p.run(); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) runEffects() (err error) {
	if r.effects, err = measureEffects(200); err != nil {
		return err
	}
	r.load, err = measureLoad(1_000_000)
	return err
}

func (r *results) runLive(l *lab.Lab, filter *xdpFilter) (err error) {
	rig, err := newLiveRig(l, r.sizes, filter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	r.frames = rig.frames
	r.live, err = rig.measure()
	return err
}

func (r *results) runWeb(ctx context.Context, l *lab.Lab) (err error) {
	rig, err := newWebRig(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	r.origin, r.missing = rig.origin.Name(), append(r.missing, rig.missing...)
	r.web, err = rig.measure(ctx, []int{0, 1, 10}, r.webTimes)
	return err
}
