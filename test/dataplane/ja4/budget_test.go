// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/clienthello"
)

// What the product sets, see loader/size.go.
const (
	shapesPerPrefix   = 32
	shapesPerSecond   = 2000
	unprovenPerSecond = 200
)

// distinct is the n-th of many hellos without two of one shape, as long as n is below 2³².
func distinct(n uint32) []byte {
	return one(tiny(0xd000|uint16(n>>24), 0xe000|uint16(n>>12&0xfff), 0xf000|uint16(n&0xfff)))
}

// tenth is an address in the n-th of 65,536 prefixes.
func tenth(n uint32) string {
	a := netip.MustParseAddr("2001:db8::10").As16()
	binary.BigEndian.PutUint16(a[4:], uint16(n))
	return netip.AddrFrom16(a).String()
}

// withinASecond runs f until no second of the kernel's coarse clock began meanwhile: budgets are for one second.
func withinASecond(t *testing.T, f func()) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		before := coarse(t).Sec
		f()
		if coarse(t).Sec == before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not once within one second")
		}
	}
}

// One prefix may show so many new shapes in a second. Known ones cost nothing, and another prefix has its own.
func TestBudgetOfAPrefix(t *testing.T) {
	p := open(t)
	p.swap(telling())
	read := map[string]int{}
	withinASecond(t, func() {
		p.forget()
		clear(read)
		for n := range uint32(shapesPerPrefix + 10) {
			v := p.visits(visitorIP, uint16(1+n), distinct(n))
			v.all()
			flow, _ := v.flow()
			read[classOf(flow)]++
		}
		v := p.visits("203.0.113.222", 1, distinct(3))
		v.all()
		v.wantJA4("a known shape of that prefix", p.ja4Of(distinct(3)))
		v = p.visits("198.51.100.1", 1, distinct(1<<20))
		v.all()
		v.wantJA4("a new shape of another prefix", p.ja4Of(distinct(1<<20)))
	})
	if read[whole] != shapesPerPrefix || read["hello_busy"] != 10 {
		t.Errorf("%v of %d new shapes within a second, want %d read and 10 busy", read, shapesPerPrefix+10, shapesPerPrefix)
	}
}

// All prefixes together may show so many on one processor, where no socket vouches for them. A test runs on one at a
// time, and may move to another.
func TestA10BudgetOfAProcessor(t *testing.T) {
	p := open(t)
	p.swap(telling())
	onOneProcessor(t)
	read := map[string]int{}
	withinASecond(t, func() {
		p.forget()
		clear(read)
		for n := range uint32(unprovenPerSecond + 50) {
			v := p.visits(tenth(n), 1, distinct(n))
			v.all()
			flow, _ := v.flow()
			read[classOf(flow)]++
		}
	})
	if read[whole] != unprovenPerSecond || read["hello_busy"] != 50 {
		t.Errorf("%v of %d new shapes within a second, want %d read and 50 busy", read,
			unprovenPerSecond+50, unprovenPerSecond)
	}
}

// largest is a hello of as many values as have a JA4.
func largest() []byte {
	h := tiny(run(0xc000, 99)...)
	h.Bare = false
	for _, kind := range run(0x4000, 98) {
		h.Extensions = append(h.Extensions, clienthello.Extension{Type: kind})
	}
	h.Extensions = append(h.Extensions, clienthello.Extension{Type: 0x000d, Data: list(2, run(0x0401, 64))})
	return one(h)
}

// Hellos longer than those of clients have the budget of what may cost more than a microsecond, also those of a known
// shape, where no socket vouches for them. Others of a known shape are read beside a flood of them.
func TestBudgetOfLongHellos(t *testing.T) {
	p := open(t)
	p.swap(telling())
	root, err := ebpf.LoadPinnedProgram(filepath.Join(p.Pins, "root/program"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	onOneProcessor(t)
	var all []string
	show := func(port uint16, stream []byte) {
		v := p.visits(visitorIP, port, stream)
		v.all()
		flow, _ := v.flow()
		all = append(all, classOf(flow))
	}
	withinASecond(t, func() {
		p.forget()
		all = nil
		show(1, largest())
		show(2, one(browser(1)))
		again := p.visits(visitorIP, 1, largest())
		if _, _, err := root.Benchmark(again.frame(0, len(again.stream)), unprovenPerSecond, nil); err != nil {
			t.Fatal(err)
		}
		show(3, largest())
		show(4, one(browser(1)))
	})
	if want := []string{whole, whole, "hello_busy", whole}; !slices.Equal(all, want) {
		t.Errorf("before, behind and beside a flood of long hellos: %v, want %v", all, want)
	}
}

// floodShapes is how many new shapes the flood below shows.
const floodShapes = 100_000

// "100,000 distinct shapes a second while a listed bot connects (it is still caught) and a visitor connects (still
// served)". The frames of one second go through as fast as this machine runs them.
func TestFloodOfShapes(t *testing.T) {
	p := open(t)
	other := browser(2)
	other.Ciphers = other.Ciphers[:9]
	stream, visitor := one(browser(1)), one(other)
	d := against(p.ja4Of(stream))
	for i, reason := range weak {
		d.rule(reason, i+1).reason(reason, reason)
	}
	p.swap(d.bundle())
	onOneProcessor(t)
	p.wants("the bot, before the flood", "XDP_DROP", p.visits(botIP, 1, stream).all(1460))
	var in time.Duration
	var worst time.Duration
	classes := map[string]int{}
	begin := time.Now()
	for n := range uint32(floodShapes) {
		v := p.visits(tenth(n), uint16(1+n>>16), distinct(n))
		frame := v.k.Frame(clienthello.Segment{Data: v.stream})
		from := time.Now()
		action := p.run(frame)
		took := time.Since(from)
		in += took
		worst = max(worst, took)
		p.wants("a stranger", "XDP_PASS", action)
		if n%1000 != 0 {
			continue
		}
		flow, _ := v.flow()
		classes[classOf(flow)]++
		p.wants(fmt.Sprintf("the bot, after %d shapes", n), "XDP_DROP", p.visits(botIP, uint16(2+n/1000), stream).all(1460))
		p.wants(fmt.Sprintf("a visitor, after %d shapes", n), "XDP_PASS",
			p.visits(visitorIP, uint16(2+n/1000), visitor).all(1460))
	}
	t.Logf("%d shapes in %v: %v a run with its system call, the longest %v; of a sample %v", floodShapes,
		time.Since(begin).Round(time.Millisecond), in/floodShapes, worst, classes)
	// One processor, and a second at each end that was only begun. On a busy machine that may be all.
	within := unprovenPerSecond * (2 + uint64(time.Since(begin)/time.Second))
	if hits := p.hits("hello_busy"); hits+within < floodShapes {
		t.Errorf("%d of %d shapes were beyond the budget, want all but %d", hits, floodShapes, within)
	}
	listed, all := p.rows(bpf.DataplaneMapShapesListed), p.rows(bpf.DataplaneMapShapes)
	if listed != 1 || all == 0 {
		t.Errorf("%d listed shapes and %d others are remembered, want the bot's alone among the listed", listed, all)
	}
}

// What others evicted from among the listed shapes is listed again with the bot's next visit, also while its row among
// the others says that it is there.
func TestAListedShapeIsListedAgain(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	p.swap(against(p.ja4Of(stream)).bundle())
	p.forget()
	for visit := range uint16(3) {
		p.wants("the bot", "XDP_DROP", p.visits(botIP, 1+visit, stream).all(1460))
		if listed := p.rows(bpf.DataplaneMapShapesListed); listed != 1 {
			t.Fatalf("visit %d: %d listed shapes", visit+1, listed)
		}
		p.must(p.Forget(bpf.DataplaneMapShapesListed))
	}
}

// A flood from a few prefixes leaves a listed bot's shape that nobody saw before its turn.
func TestFloodOfFewPrefixes(t *testing.T) {
	p := open(t)
	h := browser(1)
	c := p.ja4Of(one(h))
	c = "*_*_" + c[len(c)-12:]
	p.swap(against(c).bundle())
	onOneProcessor(t)
	const prefixes = unprovenPerSecond / shapesPerPrefix
	for round := range uint32(8) {
		h.Ciphers = []uint16{0x1301, uint16(0xc100 + round)}
		caught := ""
		withinASecond(t, func() {
			p.forget()
			for n := range uint32(prefixes * (shapesPerPrefix + 8)) {
				p.visits(tenth(n%prefixes), uint16(1+n/prefixes), distinct(n)).all()
			}
			caught = p.visits(botIP, 1, one(h)).all(1460)
		})
		p.wants(fmt.Sprintf("round %d: the bot", round), "XDP_DROP", caught)
	}
}

// hits returns how often a rule matched in the stable generation.
func (p *plane) hits(rule string) (n uint64) {
	p.t.Helper()
	all, err := p.RuleHits(p.Control().Stable)
	p.must(err)
	for index, hits := range all {
		if p.rules[index] == rule {
			n += hits
		}
	}
	return n
}

func (p *plane) rows(name string) (n int) {
	p.t.Helper()
	var key bpf.ShapeKey
	var value bpf.Shape
	rows := p.maps[name].Iterate()
	for rows.Next(&key, &value) {
		n++
	}
	p.must(rows.Err())
	return n
}
