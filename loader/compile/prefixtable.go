// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
)

// A table of prefixes, as bpf/prefix.h reads it, is an array of pages of words: first a word for each chunk of
// addresses, then the ranges of the chunks that have more than one.
//
// What a table of ranges knows no more is which prefix an address was written as; the rows are kept beside it.

// prefixRow is a prefix as a range of numbers. Its bits are those behind what is outside; of a prefix around all
// numbers they are negative.
type prefixRow struct {
	first, last uint64
	bits        int8
	head        uint16
}

// range64 is a range of numbers with one chain of rules: from start to where the next one begins.
type range64 struct {
	start uint64
	head  uint16
}

// prefixTable is the content of a map of prefixes.
type prefixTable struct {
	*prefixLayout
	rows  []prefixRow // by their addresses, a wider prefix before those inside it
	pages []bpf.PrefixPage
}

// add takes the next row; they come as flatten emits them.
func (t *prefixTable) add(p netip.Prefix, head uint32) {
	first, bits := t.number(p.Addr()), p.Bits()-t.outside
	t.rows = append(t.rows, prefixRow{first, first | (t.end()>>max(bits, 0) - 1), int8(bits), uint16(head)})
}

// text is a row as people write it.
func (t *prefixTable) text(r prefixRow) string {
	return netip.PrefixFrom(t.address(r.first), int(r.bits)+t.outside).Masked().String()
}

// build makes the pages of the rows.
func (t *prefixTable) build() {
	if len(t.rows) == 0 {
		return
	}
	t.pages = make([]bpf.PrefixPage, t.chunkPages())
	at := uint32(t.chunks())
	ranges := t.ranges()
	for chunk := range t.chunks() {
		first := chunk << t.keyBits
		last, n := first|t.key(^uint64(0)), 1
		for n < len(ranges) && ranges[n].start <= last {
			n++
		}
		word := uint32(ranges[0].head)
		if n > 1 {
			at = t.skip(at, n)
			word = at | bpf.PrefixSplit
			at = t.put(at, uint64(n))
			for _, r := range ranges[:n] {
				at = t.put(at, t.key(max(r.start, first))<<16|uint64(r.head))
			}
		}
		t.pages[chunk/bpf.PrefixPageWords].Words[chunk%bpf.PrefixPageWords] = word
		// The range that is open at the end goes on in the next chunk, if none begins there.
		ranges = ranges[n-1:]
		if len(ranges) > 1 && ranges[1].start == last+1 {
			ranges = ranges[1:]
		}
	}
}

// put writes a number of the width that this table has, and returns where the next one lies.
func (t *prefixTable) put(at uint32, number uint64) uint32 {
	for i := range t.width {
		page := int(at / bpf.PrefixPageWords)
		if page == len(t.pages) {
			t.pages = append(t.pages, bpf.PrefixPage{})
		}
		t.pages[page].Words[at%bpf.PrefixPageWords] = uint32(number >> (32 * i))
		at++
	}
	return at
}

// ranges returns what the rows make of all numbers, from 0 on; neighbours differ.
func (t *prefixTable) ranges() []range64 {
	out := make([]range64, 1, 2*len(t.rows)+1)
	begin := func(start uint64, head uint16) {
		last := &out[len(out)-1]
		switch {
		case last.start == start:
			last.head = head
			if n := len(out); n > 1 && out[n-2].head == head {
				out = out[:n-1]
			}
		case last.head != head:
			out = append(out, range64{start, head})
		}
	}
	var open []prefixRow // the rows around a number, the longest last
	leave := func(until uint64) {
		for len(open) > 0 && open[len(open)-1].last < until {
			after, head := open[len(open)-1].last+1, uint16(0)
			open = open[:len(open)-1]
			if len(open) > 0 {
				head = open[len(open)-1].head
			}
			if after < t.end() {
				begin(after, head)
			}
		}
	}
	for _, r := range t.rows {
		leave(r.first)
		begin(r.first, r.head)
		open = append(open, r)
	}
	leave(t.end())
	return out
}

// head looks a number up as the program does; pages that are not there have no rules.
func (l *prefixLayout) head(word func(at uint32) uint32, number uint64) uint16 {
	at := word(uint32(number >> l.keyBits))
	if at&bpf.PrefixSplit == 0 {
		return uint16(at)
	}
	at &^= bpf.PrefixSplit
	entry := func(i uint32) uint64 { return l.entry(word, at, i) }
	left, i := uint32(entry(0)), uint32(1)
	for step := 0; step < l.steps && left > 1; step++ {
		if middle := i + left/2; entry(middle) <= l.key(number)<<16|0xffff {
			i = middle
		}
		left -= left / 2
	}
	return uint16(entry(i))
}

// pagesIn are the pages of a map, as far as they differ from those that were built.
type pagesIn struct {
	built []bpf.PrefixPage
	other map[int]*bpf.PrefixPage
	n     int
}

func (p *pagesIn) word(at uint32) uint32 {
	page := int(at / bpf.PrefixPageWords)
	switch other := p.other[page]; {
	case page >= p.n:
		return 0
	case other != nil:
		return other.Words[at%bpf.PrefixPageWords]
	}
	return p.built[page].Words[at%bpf.PrefixPageWords]
}

// ranges returns what pages make of all numbers, whoever wrote them.
func (l *prefixLayout) ranges(p *pagesIn) (out []range64) {
	var starts []uint64
	// Ranges share no words, so all counts together are believed as far as there are pages.
	left := uint64(p.n) * bpf.PrefixPageWords / uint64(l.width)
	for chunk := range l.chunks() {
		starts = append(starts, chunk<<l.keyBits)
		at := p.word(uint32(chunk))
		if at&bpf.PrefixSplit == 0 {
			continue
		}
		at &^= bpf.PrefixSplit
		n := min(l.entry(p.word, at, 0), left)
		left -= n
		for i := range uint32(n) {
			starts = append(starts, chunk<<l.keyBits|l.key(l.entry(p.word, at, 1+i)>>16))
		}
	}
	slices.Sort(starts)
	for _, start := range slices.Compact(starts) {
		if head := l.head(p.word, start); len(out) == 0 || out[len(out)-1].head != head {
			out = append(out, range64{start, head})
		}
	}
	return out
}

// Len returns the number of rows.
func (t *prefixTable) Len() int { return len(t.rows) }

// Entries returns the number of pages.
func (t *prefixTable) Entries() int { return len(t.pages) }

// pageBatch is how many pages go to the kernel in one call, or come from it: a megabyte.
const pageBatch = 4

// Write writes the pages.
func (t *prefixTable) Write(put Put) error {
	for from := 0; from < len(t.pages); from += pageBatch {
		to := min(from+pageBatch, len(t.pages))
		var numbers []uint32
		for at := from; at < to; at++ {
			numbers = append(numbers, uint32(at))
		}
		if n, err := put(numbers, t.pages[from:to]); err != nil {
			return fmt.Errorf("page %d: %w", from+n, err)
		}
	}
	return nil
}

// Compare compares the table with that of a map. What differs is told by the rows as people wrote them, as far as they
// wrote some.
func (t *prefixTable) Compare(m Batches) ([]Drift, error) {
	got := &pagesIn{built: t.pages, other: map[int]*bpf.PrefixPage{}}
	err := eachOf(m, pageBatch, func(at uint32, page bpf.PrefixPage) {
		if int(at) >= len(t.pages) || page != t.pages[at] {
			other := page // so that a page that is as it was built is no garbage
			got.other[int(at)] = &other
		}
		got.n = max(got.n, int(at)+1)
	})
	if err != nil || len(got.other) == 0 && got.n == len(t.pages) {
		return nil, err
	}
	drifts := t.differences(t.prefixLayout.ranges(got))
	if len(drifts) == 0 {
		drifts = []Drift{{t.name, fmt.Sprintf("%d pages, as they were built", len(t.pages)),
			fmt.Sprintf("%d pages that say the same in other words", got.n)}}
	}
	return drifts, nil
}

// differences names the prefixes in which the ranges of another table differ: rows, or what begins or ends within one.
func (t *prefixTable) differences(got []range64) (drifts []Drift) {
	want, told := t.ranges(), map[string]bool{}
	var open []prefixRow // the rows around a number, the longest last
	for w, g, row, start := 0, 0, 0, uint64(0); start < t.end() && len(drifts) < DriftMax; {
		next := func(of []range64, at int) uint64 {
			if at+1 < len(of) {
				return of[at+1].start
			}
			return t.end()
		}
		end := min(next(want, w), next(got, g))
		if want[w].head != got[g].head {
			for ; row < len(t.rows) && t.rows[row].first <= start; row++ {
				open = append(open, t.rows[row])
			}
			open = slices.DeleteFunc(open, func(r prefixRow) bool { return r.last < start })
			where := t.within(start, end)
			if len(open) > 0 && start == want[w].start && end == next(want, w) {
				where = open[len(open)-1]
			}
			if text := t.text(where); !told[text] {
				told[text] = true
				drifts = append(drifts, Drift{t.name + " " + text, formatHead16(want[w].head), formatHead16(got[g].head)})
			}
		}
		if start = end; start == next(want, w) {
			w++
		}
		if start == next(got, g) {
			g++
		}
	}
	return drifts
}

// within returns the widest prefix that begins at a number and ends before another one.
func (t *prefixTable) within(start, end uint64) prefixRow {
	bits := t.numberBits
	for bits > 0 && start&(t.end()>>(bits-1)-1) == 0 && start+t.end()>>(bits-1) <= end {
		bits--
	}
	return prefixRow{first: start, bits: int8(bits)}
}

func formatHead16(head uint16) string {
	if head == 0 {
		return "nothing"
	}
	return formatHead(uint32(head))
}

// Sum sums up the pages.
func (t *prefixTable) Sum() string {
	var s rowSum
	for at := range t.pages {
		key := uint32(at)
		addRow(&s, &key, &t.pages[at])
	}
	return s.text(inPages)
}

// SumOf sums up the pages of a map.
func (t *prefixTable) SumOf(m Batches) (string, error) {
	return sumRows[uint32, bpf.PrefixPage](m, pageBatch, inPages)
}
