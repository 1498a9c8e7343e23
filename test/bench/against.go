// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Two builds are compared in one run: each is a process with maps of its own, and they measure round by round in turns,
// so that what disturbs one disturbs the other. Where the kernel puts a program's code makes some nanoseconds of
// difference, so the other build is loaded anew for each of several loads.

// opponent is another build of this benchmark, which measures a round when it is asked to.
type opponent struct {
	process *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Scanner
}

// meet starts the other build and waits until it is ready.
func meet(rows string, command ...string) (*opponent, error) {
	args := append(command[1:len(command):len(command)], "-serve", "-parts", "programs", "-rows", rows)
	o := &opponent{process: exec.Command(command[0], args...)}
	binary := strings.Join(command, " ")
	var err error
	if o.ask, err = o.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("meet %s: %w", binary, err)
	}
	out, err := o.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("meet %s: %w", binary, err)
	}
	o.answers = bufio.NewScanner(out)
	o.answers.Buffer(nil, 1<<20)
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("meet %s: %w", binary, err)
	}
	if _, err := o.next(); err != nil {
		return nil, errors.Join(err, o.part())
	}
	return o, nil
}

// next reads an answer: nanoseconds by scenario.
func (o *opponent) next() (map[string]float64, error) {
	if !o.answers.Scan() {
		return nil, fmt.Errorf("the other build ended: %w", errors.Join(o.answers.Err(), io.ErrUnexpectedEOF))
	}
	var round map[string]float64
	if err := json.Unmarshal(o.answers.Bytes(), &round); err != nil {
		return nil, fmt.Errorf("read the other build's round: %w", err)
	}
	return round, nil
}

func (o *opponent) round() (map[string]float64, error) {
	if _, err := io.WriteString(o.ask, "round\n"); err != nil {
		return nil, fmt.Errorf("ask the other build for a round: %w", err)
	}
	return o.next()
}

// part ends the other build, which takes its own things away.
func (o *opponent) part() error { return errors.Join(o.ask.Close(), o.process.Wait()) }

// serve measures a round for each line that comes in.
func (r *rig) serve(all []*scenario, times map[string]uint32, in io.Reader, out io.Writer) error {
	order := slices.Clone(all)
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(map[string]float64{}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); slices.Reverse(order) {
		round := map[string]float64{}
		for _, s := range order {
			ns, _, err := r.run(s, times[s.key])
			if err != nil {
				return err
			}
			round[s.key] = ns
		}
		if err := encoder.Encode(round); err != nil {
			return err
		}
	}
	return nil
}

// match plays the rounds of one load: who begins alternates.
func match(ctx context.Context, a, b *opponent, rounds int, ours, theirs series) error {
	for i := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		first, second, to, then := a, b, ours, theirs
		if i%2 == 1 {
			first, second, to, then = b, a, theirs, ours
		}
		for _, turn := range []struct {
			o  *opponent
			to series
		}{{first, to}, {second, then}} {
			round, err := turn.o.round()
			if err != nil {
				return err
			}
			for key, ns := range round {
				turn.to[key] = append(turn.to[key], ns)
			}
		}
	}
	return nil
}

// duel is this build beside another.
type duel struct {
	loads, rounds int
	ours, theirs  series
}

// fight compares the build at self with the one at other. Each load starts both anew.
func fight(ctx context.Context, self, other, rows string, loads, rounds int) (d duel, err error) {
	d = duel{loads: loads, rounds: rounds, ours: series{}, theirs: series{}}
	for i := range loads {
		first, second, ours, theirs := self, other, d.ours, d.theirs
		if i%2 == 1 { // who is loaded first may find better places in memory
			first, second, ours, theirs = other, self, d.theirs, d.ours
		}
		err := func() (err error) {
			a, err := meet(rows, first)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, a.part()) }()
			b, err := meet(rows, second)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.part()) }()
			return match(ctx, a, b, rounds, ours, theirs)
		}()
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// write writes the rows that both builds have.
func (d duel) write(b *strings.Builder, title string) {
	if len(d.ours) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Beside another build\n\n%s The two measured in turns, %d loads of %d rounds; median, in brackets the tenth and the ninetieth\n"+
		"percentile. The difference is made within a round. Where the kernel puts the code makes up to five nanoseconds, or five\n"+
		"percent of a ClientHello, from load to load: what is less is no difference.\n", title, d.loads, d.rounds)
	var rows [][]string
	keys := make([]string, 0, len(d.ours))
	for key := range d.ours {
		if len(d.theirs[key]) > 0 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		rows = append(rows, []string{key, spreadOf(d.theirs[key]).nanoseconds(), spreadOf(d.ours[key]).nanoseconds(),
			spreadOf(each(d.ours[key], d.theirs[key], minus)).format("%+.1f")})
	}
	grid(b, []string{"packet", "before, ns", "now, ns", "difference"}, rows)
}
