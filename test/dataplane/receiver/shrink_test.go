// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// part says which steps of a schedule are left, and how.
type part struct {
	step  int
	plain bool // as an ordinary segment of the same bytes
}

// shrink leaves out steps, tricks and circumstances while the schedule still has a fault of this kind.
func (r *rig) shrink(s *schedule, fault string) (*schedule, []part) {
	r.t.Helper()
	c, kept := s.world, s.all()
	fails := func(c circumstances, kept []part) bool { return r.judge(s.only(c, kept)).fault == fault }
	for size := max(1, len(kept)/2); ; size = max(1, size/2) {
		changed := false
		for at := 0; at < len(kept); {
			fewer := slices.Concat(kept[:at], kept[min(len(kept), at+size):])
			if fails(c, fewer) {
				kept, changed = fewer, true
			} else {
				at += size
			}
		}
		if size == 1 && !changed {
			break
		}
	}
	for i := range kept {
		simpler := slices.Clone(kept)
		simpler[i].plain = true
		if what := s.steps[kept[i].step].what; what != "" && what != settled && fails(c, simpler) {
			kept = simpler
		}
	}
	for _, simplify := range []func(*circumstances){
		func(c *circumstances) { c.IPv6 = false }, func(c *circumstances) { c.Stamps = false },
		func(c *circumstances) { c.SACK = false },
		func(c *circumstances) { c.Cookies = 1 }, func(c *circumstances) { c.Late = false },
		func(c *circumstances) { c.NoACK = false },
		func(c *circumstances) { c.Reuse = false },
	} {
		simpler := c
		simplify(&simpler)
		if simpler != c && fails(simpler, kept) {
			c = simpler
		}
	}
	return s.only(c, kept), kept
}

func (s *schedule) all() []part {
	all := make([]part, len(s.steps))
	for i := range all {
		all[i].step = i
	}
	return all
}

// only is the schedule of these steps.
func (s *schedule) only(c circumstances, kept []part) *schedule {
	t := &schedule{seed: s.seed, number: s.number, world: c, stream: s.stream}
	for _, p := range kept {
		step := s.steps[p.step]
		if p.plain {
			step = s.plainly(step)
		}
		t.steps = append(t.steps, step)
	}
	return t
}

// plainly is an ordinary segment of the same bytes.
func (s *schedule) plainly(step segment) segment {
	plain := segment{at: step.at, data: step.data, clock: max(0, step.clock)}
	if at, end := max(0, step.at), step.at+len(step.data); end > len(s.stream) || at > end ||
		!bytes.Equal(s.stream[at:end], step.data[at-step.at:]) {
		plain.what = "other bytes"
	}
	return plain
}

// words names what is odd about a schedule.
func (s *schedule) words() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	next, clock := 0, int32(0)
	for _, step := range s.steps {
		switch {
		case step.what == "" || step.what == settled:
		case strings.HasSuffix(step.what, "stamp") && !s.world.Stamps:
			add("other bytes")
		default:
			add(step.what)
		}
		if step.at > next {
			add("order")
		}
		if step.what == "" && step.at < next && step.at+len(step.data) > next {
			add("overlap")
		}
		if step.at < 0 && step.at+len(step.data) > 0 && !slices.Contains(refused, step.what) {
			add("early")
		}
		if s.world.Stamps && !step.bare && step.clock < clock-1 {
			add("old stamp")
		}
		next, clock = max(next, step.at+len(step.data)), max(clock, step.clock)
	}
	if len(s.stream) > helloMost {
		add("long")
	}
	if s.world.Cookies == 2 {
		add("cookies")
	}
	if s.world.NoACK {
		add("no handshake ACK")
	}
	if s.world.Reuse {
		add("port used again")
	}
	if s.world.Late {
		add("read late")
	}
	slices.Sort(names)
	return names
}

// line is what -schedule takes.
func (s *schedule) line(kept []part) string {
	var parts []string
	for _, p := range kept {
		n := strconv.Itoa(p.step)
		if p.plain {
			n += "p"
		}
		parts = append(parts, n)
	}
	c := s.world
	flags := strconv.Itoa(c.Cookies)
	for _, f := range []struct {
		name string
		on   bool
	}{{"6", c.IPv6}, {"t", c.Stamps}, {"s", c.SACK}, {"l", c.Late}, {"n", c.NoACK}, {"r", c.Reuse}} {
		if f.on {
			flags += f.name
		}
	}
	return fmt.Sprintf("%d/%d/%s/%s", s.seed, s.number, strings.Join(parts, ","), flags)
}

// parseLine is line's counterpart; SEED/NUMBER alone is the whole schedule.
func parseLine(line string) (*schedule, []part, error) {
	fields := strings.Split(line, "/")
	seed, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil || len(fields) != 2 && len(fields) != 4 {
		return nil, nil, fmt.Errorf("%q is neither SEED/NUMBER nor what a failure printed", line)
	}
	number, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return nil, nil, err
	}
	s := newSchedule(seed, number)
	if len(fields) == 2 {
		return s, s.all(), nil
	}
	var kept []part
	for n := range strings.SplitSeq(fields[2], ",") {
		n, plain := strings.CutSuffix(n, "p")
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i >= len(s.steps) {
			return nil, nil, fmt.Errorf("%q: step %q", line, n)
		}
		kept = append(kept, part{i, plain})
	}
	if fields[3] == "" || fields[3][0] < '0' || fields[3][0] > '2' {
		return nil, nil, fmt.Errorf("%q: SYN cookies are 0, 1 or 2", line)
	}
	has := func(flag string) bool { return strings.Contains(fields[3][1:], flag) }
	c := circumstances{IPv6: has("6"), Stamps: has("t"), SACK: has("s"), Cookies: int(fields[3][0] - '0'), Late: has("l"),
		NoACK: has("n"), Reuse: has("r")}
	return s.only(c, kept), kept, nil
}

// String describes a schedule, a line each step.
func (s *schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v, a stream of %d bytes (JA4 %q)", s.world, len(s.stream), ja4Of(s.stream))
	for _, step := range s.steps {
		fmt.Fprintf(&b, "\n\t[%d,%d) %s", step.at, step.at+len(step.data), step)
	}
	return b.String()
}

func (s segment) String() string {
	var words []string
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(s.what != "", "%q", s.what)
	add(s.flags != 0, "flags %s", flagNames(s.flags))
	add(s.noFlags, "no flags")
	add(s.ack != 0, "ACK %+d", s.ack)
	add(s.clock != 0, "clock %+d", s.clock)
	add(s.bare, "no timestamp")
	add(s.md5, "MD5")
	add(s.badSum, "wrong checksum")
	add(s.urgent != 0, "urgent %d", s.urgent)
	return strings.Join(words, ", ")
}

func flagNames(flags uint8) string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if flags>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}
