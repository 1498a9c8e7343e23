// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/flood"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

// hostRow says what the agent takes of a host, and how soon an emergency decides for everybody there.
type hostRow struct {
	rows           int
	inForce        float64 // seconds from the command until so many prefixes are in force on a host that observes
	resident, most uint64  // bytes of the agent then, and at most until then
	compared       float64 // seconds of a processor for which it compares all rows with what was built; 0: not measured
	idle, flooded  float64 // of one processor, in percent: with nothing to do between comparisons, and under a flood
	mpps           float64 // of that flood, in millions of frames a second
	emergency      spread  // seconds from the command until the bundle decides for everybody, under the flood
}

// comparedEach is how seldom the agent compares many rows (paceMost of userspace/agent).
const comparedEach = time.Hour

// calm is the share of one processor that the agent takes over a long time with nothing to do, in percent.
func (r hostRow) calm() float64 { return r.idle + 100*r.compared/comparedEach.Seconds() }

// agentTimes say for how long the agent is watched, how long at most until it compares its rows (0: that is not waited
// for), and how many emergencies there are.
type agentTimes struct {
	watch, comparison time.Duration
	emergencies       int
}

var fullAgentTimes = agentTimes{watch: time.Minute, comparison: 3 * time.Minute, emergencies: 5}

// edgeAgent is the command of this tree that runs on the edge of a lab.
type edgeAgent struct {
	lab     *lab.Lab
	folder  string
	program string
	cmd     *exec.Cmd
}

// measureHost runs the agent as a host does, first with a list of n prefixes that it observes, then where it enforces.
func measureHost(ctx context.Context, l *lab.Lab, n int, times agentTimes) (row hostRow, err error) {
	folder, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	a := &edgeAgent{lab: l, folder: folder, program: filepath.Join(folder, "spillway")}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", a.program,
		"github.com/spillway/spillway/cmd/spillway")
	if out, err := build.CombinedOutput(); err != nil {
		return row, fmt.Errorf("build the command: %w: %s", err, out)
	}
	row.rows = n
	if err := a.observe(ctx, &row, times); err != nil || times.emergencies == 0 {
		return row, err
	}
	return row, a.hurry(ctx, &row, times.emergencies)
}

// observe puts the large list into force, and watches the agent with and without something to do.
func (a *edgeAgent) observe(ctx context.Context, row *hostRow, times agentTimes) (err error) {
	feed := filepath.Join(a.folder, "feed")
	if err := errors.Join(os.Mkdir(feed, 0o755), writeFeed(feed, row.rows)); err != nil {
		return err
	}
	stop, err := a.start(ctx, "observe", fmt.Sprintf("capacity: {prefixes_v4: %d}\nguards: {max_coverage: 100%%}", row.rows))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	lap := stopwatch()
	if err := a.run("apply", filepath.Join(feed, "bundle.yaml"), "--wait"); err != nil {
		return err
	}
	row.inForce = lap()
	if row.resident, row.most, err = a.memory(); err != nil {
		return err
	}
	waited, took, err := a.comparison(ctx, times.comparison)
	if err != nil {
		return err
	}
	if row.idle, err = a.share(ctx, times.watch); err != nil {
		return err
	}
	if waited > 0 {
		row.compared = took.Seconds() - row.idle/100*waited.Seconds()
	}
	flooding, end := context.WithCancel(ctx)
	defer end()
	sent := a.flood(flooding)
	lap()
	row.flooded, err = a.share(ctx, times.watch)
	end()
	frames := <-sent
	row.mpps = float64(frames.count) / lap() / 1e6
	return errors.Join(err, frames.err)
}

// hurry has emergencies, one after the other, on a host that enforces, has visitors and is flooded.
func (a *edgeAgent) hurry(ctx context.Context, row *hostRow, count int) (err error) {
	origin, err := a.lab.StartOrigin(ctx, lab.OriginOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, origin.Close()) }()
	visitors, err := a.lab.StartVisitors(ctx, lab.VisitorOptions{Rate: visitorRate, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, visitors.Close()) }()
	stop, err := a.start(ctx, "enforce", "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	flooding, end := context.WithCancel(ctx)
	defer end()
	sent := a.flood(flooding)
	var all []float64
	for i := range count {
		seconds, err := a.emergency(ctx, i)
		if err != nil {
			return err
		}
		all = append(all, seconds)
	}
	row.emergency = spreadOf(all)
	end()
	return (<-sent).err
}

// emergency returns how many seconds one takes until it decides for everybody, and ends it.
func (a *edgeAgent) emergency(ctx context.Context, i int) (seconds float64, err error) {
	path := filepath.Join(a.folder, fmt.Sprintf("attack-%d.yaml", i))
	text := fmt.Sprintf("version: 1\nname: attack\nrules: [{id: bot, label: bot, score: %d}]\n"+
		"features: {prefixes: [{list: bots, rule: bot, entries: [%s]}]}\npolicy: {default: {drop: 60}}\n", 90+i, deniedPrefix)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return 0, err
	}
	client := api.NewClient(a.socket())
	defer client.Close()
	lap := stopwatch()
	if err := a.run("apply", path, "--emergency", "--reason", "bench"); err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		list, err := client.Rollouts(ctx)
		if err != nil {
			return 0, err
		}
		at := list.Rollouts[0]
		if at.Staged != nil && at.Staged.SharePermille == 1000 {
			seconds = lap()
			return seconds, a.run("rollout", "abort", at.ID, "--reason", "bench")
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("an emergency is %s after two minutes: %s", at.State, at.Message)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// sent is what a flood has sent when it ends.
type sent struct {
	count int
	err   error
}

// flood sends SYNs of strangers to the edge until ctx ends.
func (a *edgeAgent) flood(ctx context.Context) <-chan sent {
	out := make(chan sent, 1)
	frame := flood.Frame{RandomSource: true, RandomSeq: true,
		Bytes: flood.SYN(a.lab.OutMAC, a.lab.EdgeMAC, netip.MustParseAddr("198.18.200.0"), lab.EdgeAddr4, 443)}
	go func() {
		var s sent
		s.err = a.lab.Out.Do(func() (err error) {
			s.count, err = flood.Until(ctx, frame, a.lab.OutIndex)
			return err
		})
		out <- s
	}()
	return out
}

func (a *edgeAgent) socket() string { return filepath.Join(a.folder, "spillway.sock") }
func (a *edgeAgent) config() string { return filepath.Join(a.folder, "spillway.yaml") }

// start begins the agent in a mode, waits until it answers, and returns what ends it and removes what it has pinned.
func (a *edgeAgent) start(ctx context.Context, mode, more string) (stop func() error, err error) {
	id := make([]byte, 4)
	for i := range id {
		id[i] = byte(os.Getpid() >> (8 * i))
	}
	pins := "/sys/fs/bpf/spillway-bench-agent-" + hex.EncodeToString(id) + "-" + mode
	text := fmt.Sprintf(`version: 1
max_mode: %s
interfaces: [{name: %s}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: plain, port: 80, kind: http}
listen: {socket: %s, metrics: ""}
paths: {state: %s, pins: %s}
%s
`, mode, a.lab.EdgeIf, a.socket(), filepath.Join(a.folder, "state-"+mode), pins, more)
	if err := os.WriteFile(a.config(), []byte(text), 0o644); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	a.cmd = exec.Command(a.program, "--config", a.config(), "run")
	a.cmd.Stdout, a.cmd.Stderr = &said, &said
	if err := a.lab.Edge.Start(a.cmd); err != nil {
		return nil, err
	}
	stop = func() error {
		_ = a.cmd.Process.Signal(os.Interrupt)
		_ = a.cmd.Wait()
		return errors.Join(a.run("detach", "--yes"), os.RemoveAll(pins))
	}
	client := api.NewClient(a.socket())
	defer client.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err = client.History(ctx, 1); err == nil {
			return stop, nil
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("the agent does not answer: %w: %s", err, said.String()), stop())
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, errors.Join(err, stop())
		}
	}
}

// run runs the command as a person would.
func (a *edgeAgent) run(args ...string) error {
	var said bytes.Buffer
	cmd := exec.Command(a.program, append([]string{"--config", a.config()}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := a.lab.Edge.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("spillway %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return nil
}

// memory returns the agent's resident bytes, now and at most (proc_pid_status(5)).
func (a *edgeAgent) memory() (now, most uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		to := map[string]*uint64{"VmRSS": &now, "VmHWM": &most}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of the agent: %w", err)
		}
		*to = kib << 10
	}
	return now, most, nil
}

// comparison waits until the agent has compared its rows, and returns for how long it waited and what the agent took of
// a processor meanwhile. It asks seldom: to answer takes of it, too.
func (a *edgeAgent) comparison(ctx context.Context, most time.Duration) (waited, took time.Duration, err error) {
	if most == 0 {
		return 0, 0, nil
	}
	client := api.NewClient(a.socket())
	defer client.Close()
	begun := time.Now()
	before, err := a.used()
	if err != nil {
		return 0, 0, err
	}
	for time.Since(begun) < most {
		if err := sleep(ctx, 10*time.Second); err != nil {
			return 0, 0, err
		}
		s, err := client.Status(ctx)
		if err != nil {
			return 0, 0, err
		}
		if s.Drift != nil && s.Drift.Checked.After(begun) {
			after, err := a.used()
			return time.Since(begun), after - before, err
		}
	}
	return 0, 0, fmt.Errorf("the agent compared nothing within %s", most)
}

// share returns how much of one processor's time the agent takes while it is watched, in percent.
func (a *edgeAgent) share(ctx context.Context, watch time.Duration) (float64, error) {
	before, err := a.used()
	if err != nil {
		return 0, err
	}
	lap := stopwatch()
	if err := sleep(ctx, watch); err != nil {
		return 0, err
	}
	after, err := a.used()
	return 100 * (after - before).Seconds() / lap(), err
}

// used returns the processor time of the agent so far, its ended threads included: the clock of a process
// (clock_getcpuclockid(3)), in nanoseconds. The ticks of proc_pid_stat(5) are too coarse for what is nearly nothing.
func (a *edgeAgent) used() (time.Duration, error) {
	const cpuClockSched = 2 // include/linux/posix-timers.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^a.cmd.Process.Pid<<3|cpuClockSched), &t); err != nil {
		return 0, fmt.Errorf("processor time of the agent: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
