// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// results is everything that one run has measured. A part that was left out is empty, and missing says why.
type results struct {
	began    time.Time
	took     time.Duration
	machine  []string
	sizes    sizes
	sections []section
	runs     []series // of the program runs, each of a process of its own
	effects  []effectRow
	load     loadRow
	live     []liveRow
	frames   int
	web      []webRow
	places   placesTable
	origin   string
	webTimes webTimes
	host     hostRow
	missing  []string
}

const reportHead = `# Benchmarks

Written by ` + "`make bench`" + ` (` + "`go run ./test/bench`" + `); do not edit. Nothing here is tested against a clock: the numbers are of one
machine on one day, and what carries over to another is the ratio to what stands beside it. What is measured, and how, is at
the end.

`

func (r *results) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString(reportHead)
	fmt.Fprintf(&b, "Measured on %s, in %s:\n\n", r.began.UTC().Format("2 January 2006, 15:04 UTC"),
		r.took.Round(time.Second))
	for _, line := range r.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, line := range r.missing {
		fmt.Fprintf(&b, "- left out: %s\n", line)
	}
	r.writeTargets(&b)
	r.writePrograms(&b)
	r.writePlaces(&b)
	r.writeLive(&b)
	r.writeWeb(&b)
	r.writeEffects(&b)
	r.writeHost(&b)
	b.WriteString(reportMethod)
	_, err := io.WriteString(w, b.String())
	return err
}

// grid writes a table of Markdown; the first column is text, the others are numbers.
func grid(b *strings.Builder, head []string, rows [][]string) {
	fmt.Fprintf(b, "\n| %s |\n|", strings.Join(head, " | "))
	for i := range head {
		b.WriteString(map[bool]string{true: " --- |", false: " ---: |"}[i == 0])
	}
	b.WriteString("\n")
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

func (r *results) row(key string) (row, bool) {
	return r.find(func(row row) bool { return row.key == key })
}

func (r *results) find(is func(row) bool) (row, bool) {
	for _, s := range r.sections {
		if i := slices.IndexFunc(s.rows, is); i >= 0 {
			return s.rows[i], true
		}
	}
	return row{}, false
}

func (r *results) sectionOf(title string) []row {
	for _, s := range r.sections {
		if s.title == title {
			return s.rows
		}
	}
	return nil
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "**missed**"
}

func (r *results) writeTargets(b *strings.Builder) {
	var rows [][]string
	add := func(what, target string, measured string, held bool) {
		rows = append(rows, []string{what, target, measured, verdict(held)})
	}
	r.writeProgramTargets(add)
	r.writeLiveTarget(add)
	for _, row := range r.sectionOf(trialTitle) {
		if row.ratio != nil {
			add(row.name+", while two generations are compared", fmt.Sprintf("≤ %.1f × of without", comparedGoal),
				row.ratio.format("%.2f")+" ×", row.ratio.median <= comparedGoal)
		}
	}
	r.writeLimits(add)
	for _, e := range r.effects {
		limit, text := 1e3, "≤ 1 ms"
		if strings.HasSuffix(e.name, "ban") {
			limit, text = 2e6, "≤ 2 s"
		}
		add(e.name+": from the call until a packet met it", text, e.micros.format("%.1f")+" µs", e.micros.p90 <= limit)
	}
	if total := r.load.read + r.load.compile + r.load.build + r.load.publish; r.load.rows > 0 {
		add(number(r.load.rows)+" prefixes, from the file to the published slot", "≤ 3 s",
			fmt.Sprintf("%.2f s", total), total <= 3)
	}
	if h := r.host; h.rows > 0 {
		add(fmt.Sprintf("the agent with nothing to do and %s prefixes, of one processor", number(h.rows)), "≤ 0.3 %",
			fmt.Sprintf("%.2f %%", h.calm()), h.calm() <= 0.3)
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## Targets\n")
	grid(b, []string{"what", "target", "measured", ""}, rows)
	r.writeRuns(b)
	r.writeRest(b)
}

func (r *results) writePrograms(b *strings.Builder) {
	for i, s := range r.sections {
		if len(s.rows) == 0 {
			continue
		}
		if i == 0 {
			b.WriteString("\n## Nanoseconds per packet\n\nMedian over the rounds, in brackets the tenth and the ninetieth percentile. *Net* is without what the floor of the\n" +
				"same table costs; *ratio* compares net with net.\n")
		}
		fmt.Fprintf(b, "\n### %s\n", s.title)
		if hasGoals(s) {
			writeGoals(b, s)
			continue
		}
		var rows [][]string
		for _, row := range s.rows {
			net, ratio := "", ""
			if row.floor != "" {
				net = row.net.nanoseconds()
			}
			if row.ratio != nil {
				ratio = row.ratio.format("%.2f")
			}
			rows = append(rows, []string{row.name, row.raw.nanoseconds(), net, ratio})
		}
		grid(b, []string{"packet", "ns", "net", ratioHead(s)}, rows)
	}
}

func hasGoals(s section) bool {
	return slices.ContainsFunc(s.rows, func(r row) bool { return r.goal > 0 })
}

// writeGoals writes a section whose rows have a goal each.
func writeGoals(b *strings.Builder, s section) {
	var rows [][]string
	for _, row := range s.rows {
		if row.floor == "" {
			rows = append(rows, []string{row.name, row.raw.nanoseconds(), "", "", ""})
			continue
		}
		goal := float64(row.goal.Nanoseconds())
		rows = append(rows,
			[]string{row.name, row.raw.nanoseconds(), row.net.nanoseconds(), fmt.Sprintf("≤ %.0f µs", goal/1000),
				verdict(row.net.median <= goal)})
	}
	grid(b, []string{"packet", "ns", "net", "goal", ""}, rows)
}

// ratioHead names what the ratios of a section compare with.
func ratioHead(s section) string {
	for _, row := range s.rows {
		switch row.versus {
		case "":
		case hotLookup, randomLookup:
			return "ratio to the comparison"
		case "hot SYN, drop by prefix":
			return "ratio to the same without a comparison"
		default:
			return "ratio to the exact hash"
		}
	}
	return ""
}

// writeLiveTarget compares how many denied SYNs a second were dropped.
func (r *results) writeLiveTarget(add func(what, target, measured string, held bool)) {
	rate := func(by string) float64 {
		for _, row := range r.live {
			if row.drops && strings.HasPrefix(row.name, by) {
				return row.mpps.median
			}
		}
		return 0
	}
	if ours, theirs := rate("Spillway"), rate("xdp-filter"); theirs > 0 {
		add("live frames over veth, SYNs of denied sources", "≥ 0.95 × xdp-filter's rate",
			fmt.Sprintf("%.2f ×", ours/theirs), ours >= 0.95*theirs)
	}
}

func (r *results) writeLive(b *strings.Builder) {
	if len(r.live) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Live frames over a veth pair\n\n%s frames a round, sent and received by one thread, so the sender's work is in every number; %d denied\n"+
		"sources are listed, packets come from all of them or from %s flows, in random order.\n", number(r.frames), listed,
		number(r.sizes.flows))
	var rows [][]string
	for _, row := range r.live {
		what := "passed to the stack, which discards them"
		if row.drops {
			what = "dropped"
		}
		rows = append(rows, []string{row.name, what, row.mpps.format("%.2f"), fmt.Sprintf("%.2f %%", 100*row.lost)})
	}
	grid(b, []string{"program on the receiving device", "packets were", "million packets a second", "lost before it"},
		rows)
}

func (r *results) writeWeb(b *strings.Builder) {
	if len(r.web) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Visitors of a web server, with bots\n\n%s behind a veth pair; visitors open %d TLS connections a second, one request each, and give up after 2 s. Bots at 1 ×:\n"+
		"a crawler with %d requests a second from denied prefixes, and a scanner with %s SYNs a second. Everybody shares the machine's\n"+
		"processors, the bots too. Each setting was watched for %s.\n", r.origin, visitorRate, crawlerRate,
		number(scannerRate), r.webTimes.watch)
	var rows [][]string
	for _, row := range r.web {
		v := row.visitors
		success := "–"
		if v.Requests > 0 {
			success = fmt.Sprintf("%.2f %%", 100*float64(v.Served())/float64(v.Requests))
		}
		rows = append(rows, []string{fmt.Sprintf("%d ×", row.bots), row.protection, success,
			milliseconds(v.P50), milliseconds(v.P99), fmt.Sprint(row.crawled), fmt.Sprintf("%.0f %%", 100*row.answered),
			fmt.Sprintf("%.0f %%", 100*row.busy)})
	}
	grid(b,
		[]string{"bots", "protection", "visitors served", "p50 ms", "p99 ms", "crawler served", "SYNs answered",
			"processors busy"}, rows)
	b.WriteString("\nThe nftables set stands at the ingress hook and is told the scanner's prefixes; Spillway finds the scanner by its fingerprint.\n")
}

func (r *results) writeEffects(b *strings.Builder) {
	if len(r.effects) == 0 {
		return
	}
	b.WriteString("\n## From a call to its effect\n\nEach time, the packet that follows the call was run through the dataplane and met the change. Bans are map writes, with a\n" +
		"system call; the others are one store. The command line and the agent's socket are not in these numbers.\n")
	var rows [][]string
	for _, e := range r.effects {
		rows = append(rows, []string{e.name, e.micros.format("%.1f")})
	}
	grid(b, []string{"call", "µs until a packet met it"}, rows)
	if l := r.load; l.rows > 0 {
		fmt.Fprintf(b, "\nA list of %s prefixes: read and validated in %.2f s, compiled in %.2f s, built aside, read back and frozen in %.2f s,\npublished in %.1f µs.\n",
			number(l.rows), l.read, l.compile, l.build, l.publish*1e6)
	}
	if l := r.load; l.taste.child > 0 {
		fmt.Fprintf(b, "Tasted with a golden client, from the request to the child's result, in %.2f s, with %d MiB; checked by the agent and\nput into a slot in %.2f s.\n",
			l.taste.child, l.taste.bytes>>20, l.taste.adopt)
	}
}

// writeHost says what the agent takes, and how long an emergency.
func (r *results) writeHost(b *strings.Builder) {
	h := r.host
	if h.rows == 0 {
		return
	}
	b.WriteString("\n## The agent on a host\n\n")
	fmt.Fprintf(b, "The command of this tree, run as a host runs it. The flood are SYNs of strangers, %.2f million a second, from the same two\n"+
		"processors. Emergencies are of a host that enforces and has %d visitors a second.\n", h.mpps, visitorRate)
	inForce := number(h.rows) + " prefixes, observed: from `spillway apply --wait` until they are in force"
	grid(b, []string{"what", ""}, [][]string{
		{inForce, fmt.Sprintf("%.1f s", h.inForce)},
		{"the agent's memory then (resident)", fmt.Sprintf("%d MiB", h.resident>>20)},
		{"at most until then", fmt.Sprintf("%d MiB", h.most>>20)},
		{"of one processor, with nothing to do, between two comparisons", fmt.Sprintf("%.2f %%", h.idle)},
		{fmt.Sprintf("of a processor, to compare all rows with what was built, each %.0f minutes", comparedEach.Minutes()),
			fmt.Sprintf("%.2f s", h.compared)},
		{"of one processor, under the flood", fmt.Sprintf("%.1f %%", h.flooded)},
		{"an emergency under the flood, until it decides for everybody", h.emergency.format("%.1f") + " s"},
	})
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1e3) }

const reportMethod = `
## How it is measured

- **Program runs** (nanoseconds per packet): the kernel runs a program again and again on a frame of ours (BPF_PROG_TEST_RUN).
  No driver and no stack is in these numbers; the loop of the kernel is, which is why an empty program stands beside them.
  What counts is the processor time of the thread.
- **One hot packet** is the same packet each time: everything it touches is in the first-level cache. **Random packets** are as
  many different ones as a table says, in random order: a feeder, an XDP program too, writes the next source, port and
  sequence number into the frame and tail-calls what is measured; the floor of that table is the feeder in front of an
  empty program. First payloads belong to real connections, each confirmed by its socket.
- **What a stranger can send** are hot packets that no socket vouches for, to a dataplane that has 10,000 prefixes, three JA4
  features, fragments dropped, connection tracking and egress asked where a row says so. Budgets are the product's: *beyond
  the budget* is what all but the first packets of a second cost. Each may cost a microsecond.
- **What a connection can send** are packets of real connections, each of another one, run once each and timed by the kernel; the
  caches are as cold as the other connections leave them. What has to come before is sent untimed. New shapes are computed each
  time, for the table of known ones is full there. Each may cost 25 µs, within the budgets of a second.
- **The comparison** (test/bench/compare.c) parses Ethernet, two tags, IPv4 with options or IPv6, and TCP, looks the flow up in an
  LRU hash with the same key, value, size and content as Spillway's, and obeys the verdict. It counts nothing and can do nothing else.
- Before it is timed, each row proves by Spillway's own counters that its packets take the path that its name says.
- All rows are measured in turns, in rounds, every second round backwards. Ratios are made within a round.
- **Live frames**: the kernel sends the frames of such a run over a veth pair (BPF_F_TEST_XDP_LIVE_FRAMES). Packets are
  counted by the receiving device's driver.
- **What is not measured:** a packet that interrupts another on its processor and finds the workspace busy. Only PREEMPT_RT kernels
  let that happen, and elsewhere the question is not compiled in, so it costs nothing there; a program run is never interrupted so.
- Addresses are those for documentation and benchmarks, and in program runs numbers in a buffer; nothing leaves the machine.
`
