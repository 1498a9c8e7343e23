// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// programTarget is a promise about program runs: what a row costs net, in nanoseconds or as a multiple of what another
// one does. It is held when the worst run holds it.
type programTarget struct {
	what, goal string
	row, with  string // keys; with is "" for nanoseconds
	most       float64
	scale      float64 // nanoseconds in the unit
	unit       string
}

// programTargets are those of the rows that were measured.
func (r *results) programTargets() (all []programTarget) {
	huge := number(r.sizes.hugeList)
	filter := func(what string) string {
		row, _ := r.find(func(row row) bool {
			return strings.HasPrefix(row.key, "hot xdp-filter") && strings.HasSuffix(row.key, what)
		})
		return row.key
	}
	first, _ := r.find(func(row row) bool {
		return strings.HasPrefix(row.key, "random first payload of a connection") && row.versus == ""
	})
	ratio := func(what, goal, row, with string, most float64) {
		all = append(all, programTarget{what, goal, row, with, most, 1, " ×"})
	}
	ratio("established flow, pass, one hot flow", "≤ 1 × xdp-filter's pass", "hot established, pass", filter(", pass"), 1)
	ratio(fmt.Sprintf("established flow, pass, %s flows in random order", number(r.sizes.flows)),
		"≤ 1 × xdp-filter's pass, with "+huge+" sources", "random established, pass",
		"random xdp-filter, pass, "+huge+" sources", 1)
	ratio("SYN of a denied source, drop, one hot", "≤ 1.5 × xdp-filter's", "hot SYN, drop by prefix",
		filter(", drop by source"), 1.5)
	ratio("SYN of a denied source, drop, "+huge+" prefixes, random", "≤ 2 × xdp-filter's, with as many sources",
		"random SYN, drop, "+huge+" prefixes", "random xdp-filter, drop by source, "+huge+" sources", 2)
	ratio("SYN, pass, "+huge+" prefixes, random", "≤ 1.3 × the same with none", "random SYN, pass, "+huge+" prefixes",
		"random SYN, pass, no features", 1.3)
	ratio("lookup in "+huge+" prefixes", "≤ 1/8 × the kernel's trie", "random table of a generation, "+huge+" prefixes",
		"random kernel trie, "+huge+" prefixes", 0.125)
	six := "IPv6, " + number(min(r.sizes.hugeList, list6)) + " prefixes"
	ratio("lookup in "+six, "≤ 1/8 × the kernel's trie", "random table of a generation, "+six, "random kernel trie, "+six,
		0.125)
	all = append(all, programTarget{"bypass on, over an empty XDP_PASS program", "≤ 3 ns", "hot bypass", "", 3, 1, " ns"})
	for _, t := range helloTargets {
		all = append(all, programTarget{"ClientHello: " + t.row, fmt.Sprintf("≤ %.1f µs", t.ns/1000), "hello " + t.row, "",
			t.ns / 1000, 1000, " µs"})
	}
	all = append(all, programTarget{first.name + ", random", "≤ 2.0 µs", first.key, "", 2, 1000, " µs"})
	return slices.DeleteFunc(all, func(t programTarget) bool {
		_, ok := r.row(t.row)
		_, with := r.row(t.with)
		return !ok || t.with != "" && !with
	})
}

// keys are the rows that targets need, with their floors.
func (r *results) keys(targets []programTarget) (keys []string) {
	for _, t := range targets {
		for _, key := range []string{t.row, t.with} {
			if row, ok := r.row(key); ok {
				keys = append(keys, key, row.floor, row.versus) // a row comes with what it is compared with
			}
		}
	}
	slices.Sort(keys)
	return slices.DeleteFunc(slices.Compact(keys), func(key string) bool { return key == "" })
}

// of returns what a run measured of the target; NaN where it has no such row.
func (t programTarget) of(r *results, run series) float64 {
	net := func(key string) []float64 {
		row, _ := r.row(key)
		return each(run[key], run[row.floor], minus)
	}
	if len(net(t.row)) == 0 || t.with != "" && len(net(t.with)) == 0 {
		return math.NaN()
	}
	if t.with == "" {
		return spreadOf(net(t.row)).median / t.scale
	}
	return spreadOf(each(net(t.row), net(t.with), over)).median
}

// writeProgramTargets says of each target what the runs measured: the median of them, the best and the worst.
func (r *results) writeProgramTargets(add func(what, target, measured string, held bool)) {
	for _, t := range r.programTargets() {
		var values []float64
		for _, run := range r.runs {
			values = append(values, t.of(r, run))
		}
		if len(values) == 0 {
			continue
		}
		worst := slices.Max(values)
		add(t.what, t.goal, fmt.Sprintf("%.2f (%.2f–%.2f)%s", spreadOf(values).median, slices.Min(values), worst, t.unit),
			worst <= t.most) // not where a run has none: NaN is not below anything
	}
}

// writeRuns writes what each run measured.
func (r *results) writeRuns(b *strings.Builder) {
	if len(r.runs) < 2 {
		return
	}
	fmt.Fprintf(b, "\n### Each run\n\n%d processes, on each processor in turn, each with another number of other programs loaded before its own (up to 64, of up\n"+
		"to 4,096 instructions), so that the code of all rows lies elsewhere each time. A target is held when the worst of them holds it.\n",
		len(r.runs))
	head := []string{"what"}
	for i := range r.runs {
		head = append(head, fmt.Sprint(i+1))
	}
	var rows [][]string
	for _, t := range r.programTargets() {
		cells := []string{t.what + "," + t.unit}
		for _, run := range r.runs {
			cells = append(cells, fmt.Sprintf("%.2f", t.of(r, run)))
		}
		rows = append(rows, cells)
	}
	grid(b, head, rows)
}

// writeRest says what rows whose target is out of reach are made of, by rows that do a part of them.
func (r *results) writeRest(b *strings.Builder) {
	net := func(key string) float64 {
		row, ok := r.row(key)
		if !ok {
			return math.NaN()
		}
		return row.net.median
	}
	none, flow, denied := net("hot not a service"), net("hot established, pass"), net("hot SYN, drop by prefix")
	huge := number(r.sizes.hugeList)
	bare, full := net("random SYN, pass, no features"), net("random SYN, pass, "+huge+" prefixes")
	lookup := net("random table of a generation, " + huge + " prefixes")
	if math.IsNaN(none + flow + denied + bare + full + lookup) {
		return
	}
	fmt.Fprintf(b, `
### What the rest is made of

- **Any packet**, %.0f ns: two tail calls, the parse at fixed offsets, five map lookups (the root's words, the words, the host's ports by
  slot and by port, the counter), and nothing else. It is what a packet of no service costs.
- **An established flow, hot**, %.0f ns more: its row in an LRU hash. Hash, bucket, comparison of the key and the mark of its use are the
  kernel's; xdp-filter looks at two hashes that hold nothing of it. In random order both wait for memory.
- **A denied SYN, hot**, %.0f ns more than any packet, for 14 map lookups more: generation and host file (by slot, and the row: 4), the
  prefix (by slot, its chunk, and the ranges of that: 3), its rule (2) and the rule's matches, the agent's heartbeat, this second's
  events, the connections that were counted a moment ago and the key of their names; and the coarse clock. xdp-filter asks no agent, no
  host file and no rule that may have ended, counts no connections, and its list cannot be swapped.
- **A SYN that passes, at %s prefixes**, %.0f ns more than with none: the lookup alone takes %.0f from memory that no cache holds (the
  word of a chunk, and two lines of its ranges). Once a second's events are spent the front does it too, and then it lies in the cache.
- **A SYN that one of two compared generations blocks** is judged by both and remembered, as one that passes; what it is compared with, a
  SYN that both block, is dropped by the front.
`, none, flow-none, denied-none, huge, full-bare, lookup)
	r.writeRestOfHellos(b)
}

// writeRestOfHellos goes on with what a ClientHello and a first payload cost.
func (r *results) writeRestOfHellos(b *strings.Builder) {
	stranger := func(name string) float64 {
		for _, row := range r.sectionOf(strangersTitle) {
			if row.name == name {
				return row.net.median
			}
		}
		return math.NaN()
	}
	hello := func(name string) float64 {
		row, ok := r.row("hello " + name)
		if !ok {
			return math.NaN()
		}
		return row.net.median
	}
	none, known := stranger("data that is no ClientHello"), stranger("ClientHello of a known shape")
	modest := stranger("39 ciphers, 20 extensions, 18 algorithms, known shape")
	one, fresh, worst := hello(knownShape), hello(newShape), hello(worstShape)
	if math.IsNaN(none + known + modest + one + fresh + worst) {
		return
	}
	const more = 39 + 20 + 18 - (15 + 16 + 8) // values of the modest hello that the small one has not
	each := (modest - known) / more
	fmt.Fprintf(b, `- **A ClientHello of a known shape**, %.0f ns: %.0f as for data that is no hello (parse, flow, socket, judgement, the hand-over). Its 39
  ciphers, extensions and algorithms take %.0f ns each, hashed under a key, %.0f in all, and one lookup finds the shape; the rest copies
  517 bytes into the workspace and asks the features that the bundle has.
- **A new shape** takes %.0f ns more: the lists once more, a radix sort of both, and six blocks of SHA-256; the worst, %.0f ns, is
  99 values of each, and SHA-256 over 2,100 bytes of text. BPF has no SHA instructions: a block is 64 rounds of some 20 operations.
- **A first payload** adds, beside a hello's, what waits for memory where each connection is another one: its socket by the kernel's
  tables, the remembered SYN, and the insert of its flow into an LRU.
`, one, none, each, 39*each, fresh-one, worst)
}
