// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// scenario is one row of the program runs.
type scenario struct {
	key, name string
	program   *ebpf.Program
	frame     []byte
	// fed is the part of the feeder's steps that the frame is sent with; nil: the same packet each time.
	fed    *compareSpan
	action uint32
	// path is what the dataplane must count, so that nobody measures another path than the name says.
	path *path
	// each are frames that run once each, timed by the kernel; what counts is their median. nil: frame.
	each [][]byte
	// before sends what has to come before the frames, untimed; after puts back what a run has changed.
	before func() error
	after  func() error
	// goal is what the packet may cost, 0 for no goal.
	goal time.Duration
	// floor and versus are the keys of the row to subtract and of the row to compare with.
	floor, versus string
}

type path struct {
	plane   *plane
	reason  bpf.Reason
	outcome bpf.Outcome
}

const (
	actionAborted = 0
	actionDrop    = 1
	actionPass    = 2
	anyAction     = 99

	// runTime is about how long one run lasts: long against a system call, short against a round.
	runTime = 8 * time.Millisecond
	// onPath is the least share of packets that must be counted as the scenario says. Random sources meet a feature now
	// and then.
	onPath = 0.9
)

// threadTime is the processor time of this thread. What others do to the machine makes it noisier, not longer by
// their share.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// run sends the scenario's packets n times over and returns the nanoseconds of one.
func (r *rig) run(s *scenario, n uint32) (ns float64, action uint32, err error) {
	if s.each != nil {
		return runEach(s)
	}
	program := s.program
	if s.fed != nil {
		program = r.compare.Feed
		if err := r.compare.Measured.Put(uint32(0), s.program); err != nil {
			return 0, 0, fmt.Errorf("put the program behind the feeder: %w", err)
		}
		if err := r.compare.Window.Set(s.fed); err != nil {
			return 0, 0, fmt.Errorf("set the feeder's window: %w", err)
		}
	}
	options := &ebpf.RunOptions{Data: s.frame, Repeat: n}
	begin := threadTime()
	action, err = program.Run(options)
	spent := threadTime() - begin
	if err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", s.name, err)
	}
	if s.after != nil {
		if err := s.after(); err != nil {
			return 0, 0, fmt.Errorf("after %s: %w", s.name, err)
		}
	}
	return float64(spent.Nanoseconds()) / float64(n), action, nil
}

// runEach runs each frame of the scenario once and returns the median of what the kernel says that they took.
func runEach(s *scenario) (ns float64, action uint32, err error) {
	var all []float64
	if s.before != nil {
		if err := s.before(); err != nil {
			return 0, 0, err
		}
	}
	for _, frame := range s.each {
		got, took, err := s.program.Benchmark(frame, 1, nil)
		if err != nil {
			return 0, 0, fmt.Errorf("run %s: %w", s.name, err)
		}
		action = got
		all = append(all, float64(took.Nanoseconds()))
	}
	if s.after != nil {
		if err := s.after(); err != nil {
			return 0, 0, fmt.Errorf("after %s: %w", s.name, err)
		}
	}
	return spreadOf(all).median, action, nil
}

// prove runs a scenario once and looks at what the dataplane counted.
func (r *rig) prove(s *scenario) error {
	n := uint32(256)
	if s.fed != nil {
		n = s.fed.Count
	}
	if s.each != nil {
		n = uint32(len(s.each))
	}
	before, err := s.counted()
	if err != nil {
		return err
	}
	_, action, err := r.run(s, n)
	if err != nil {
		return err
	}
	if action != s.action && s.action != anyAction {
		return fmt.Errorf("%s: XDP action %d, want %d", s.name, action, s.action)
	}
	after, err := s.counted()
	if err != nil || s.path == nil {
		return err
	}
	want := counted{s.path.reason, s.path.outcome}
	if got := after[want] - before[want]; float64(got) < onPath*float64(n) {
		var moved []string
		for c, packets := range after {
			if packets > before[c] {
				moved = append(moved, fmt.Sprintf("%d %s", packets-before[c], c))
			}
		}
		return fmt.Errorf("%s: %d of %d packets were counted as %s, but %v", s.name, got, n, want, moved)
	}
	return nil
}

// counted is what packets are counted by.
type counted struct {
	reason  bpf.Reason
	outcome bpf.Outcome
}

func (c counted) String() string { return bpf.ReasonName(c.reason) + ", " + bpf.OutcomeName(c.outcome) }

// counted returns the counters of the scenario's plane; none where it has no path.
func (s *scenario) counted() (map[counted]uint64, error) {
	sums := map[counted]uint64{}
	if s.path == nil {
		return sums, nil
	}
	rows, err := s.path.plane.Counters()
	for _, row := range rows {
		sums[counted{row.Reason, row.Outcome}] += row.Packets
	}
	return sums, err
}

// repeats returns how often a scenario runs at a time.
func (r *rig) repeats(s *scenario) (uint32, error) {
	if s.fed != nil {
		return s.fed.Count, nil // every packet once
	}
	if s.each != nil {
		return uint32(len(s.each)), nil
	}
	ns, _, err := r.run(s, 10_000)
	return uint32(float64(runTime.Nanoseconds())/max(ns, 1)) + 1, err
}

// series holds nanoseconds per packet, by scenario and round.
type series map[string][]float64

// measure runs all scenarios in turn, round after round; every second round backwards, so that none always follows the
// same neighbour.
func (r *rig) measure(all []*scenario, rounds int, brief bool) (series, error) {
	times := make(map[string]uint32, len(all))
	var wrong []error
	for _, s := range all {
		wrong = append(wrong, r.prove(s))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	for _, s := range all {
		n := uint32(16)
		if !brief {
			var err error
			if n, err = r.repeats(s); err != nil {
				return nil, err
			}
		}
		times[s.key] = n
	}
	if r.sizes.serve {
		return nil, r.serve(all, times, os.Stdin, os.Stdout)
	}
	out := series{}
	order := slices.Clone(all)
	for range rounds {
		for _, s := range order {
			ns, _, err := r.run(s, times[s.key])
			if err != nil {
				return nil, err
			}
			out[s.key] = append(out[s.key], ns)
		}
		slices.Reverse(order)
	}
	return out, nil
}

// row is a measured scenario: nanoseconds per packet, what of them is the packet's, and how that compares.
type row struct {
	*scenario
	raw, net spread
	ratio    *spread
}

func rowsOf(all []*scenario, s series) ([]row, error) {
	var rows []row
	var errs []error
	netOf := func(key string, floor string) []float64 {
		if floor == "" {
			return s[key]
		}
		return each(s[key], s[floor], minus)
	}
	for _, sc := range all {
		r := row{scenario: sc, raw: spreadOf(s[sc.key]), net: spreadOf(netOf(sc.key, sc.floor))}
		if sc.versus != "" {
			if len(s[sc.versus]) == 0 {
				errs = append(errs, fmt.Errorf("%s: nothing measured as %s", sc.name, sc.versus))
				continue
			}
			ratio := spreadOf(each(netOf(sc.key, sc.floor), netOf(sc.versus, sc.floor), over))
			r.ratio = &ratio
		}
		rows = append(rows, r)
	}
	return rows, errors.Join(errs...)
}
