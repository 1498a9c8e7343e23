// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
)

// Finding is what a file probably is, and what its rows come to.
type Finding struct {
	Options
	Summary
	// Good rows are prefixes, IPv4 and IPv6 count those.
	Good, IPv4, IPv6 int
	// Masked, Unmapped and Split count rows by what became of them, Duplicates the prefixes that had come before.
	Masked, Unmapped, Split, Duplicates int
	// Bad has the first rows that are none, at most five.
	Bad []BadRow
}

// BadRow is one that is no address.
type BadRow struct {
	Line          int
	Text, Problem string
}

// maxBadShown is how many bad rows a finding has.
const maxBadShown = 5

// Probe guesses what a file is by its beginning; whole says that it is all of it. It returns a *Misfit where no format
// fits nine tenths of the rows: what the file is instead.
func Probe(head []byte, whole bool) (*Finding, error) {
	if beginsJSON(bytes.TrimSpace(bytes.TrimPrefix(head, byteOrderMark))) {
		return probeJSON(head, whole)
	}
	if end := bytes.LastIndexByte(head, '\n') + 1; !whole && end > 0 {
		head = head[:end]
	}
	plain, err := try(head, Options{})
	var misfit *Misfit
	if err == nil || errors.As(err, &misfit) && misfit.none {
		return plain, err
	}
	if f, no := try(head, Options{Format: Ranges}); no == nil {
		if f.Duplicates*100 > f.IPv4+f.IPv6 { // ranges of one list do not lie in each other: these are two addresses a line
			return nil, err
		}
		return f, nil
	}
	var best *Finding
	for _, c := range []byte("\t,;| ") {
		if f := probeCSV(head, c); f != nil && (best == nil || f.Good > best.Good) {
			best = f
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, err
}

// probeJSON takes the usual fields, or else those in which addresses stand.
func probeJSON(head []byte, whole bool) (*Finding, error) {
	f, err := count(head, Options{Format: JSON})
	var misfit *Misfit
	if errors.As(err, &misfit) && f.Good == 0 && len(f.Names) > 0 {
		f, err = count(head, Options{Format: JSON, Fields: f.Names})
	}
	if err != nil && (whole || f.Good == 0) {
		return nil, err
	}
	return f, enough(f)
}

// probeCSV takes the column in which the most rows have an address; nil where there is none.
func probeCSV(head []byte, separator byte) *Finding {
	in := map[int]int{}
	_ = Lines(bytes.NewReader(head), func(line []byte, _ int) error {
		if len(line) > 0 && !commented(line) {
			in[columnOf(line, separator)]++
		}
		return nil
	})
	delete(in, 0)
	var best *Finding
	for number := range in {
		f, err := try(head, Options{Format: CSV, Separator: separator, Column: Column{Number: number}})
		if err == nil && (best == nil || f.Good > best.Good || f.Good == best.Good && number < best.Column.Number) {
			best = f
		}
	}
	if best == nil {
		return nil
	}
	if name := nameOf(head, best); name != "" {
		if f, err := try(head, Options{Format: CSV, Separator: separator, Column: Column{Name: name}}); err == nil &&
			f.Good == best.Good {
			return f
		}
	}
	return best
}

// nameOf returns what the header calls the column of a finding: a row of the file, or the last comment before the rows
// that has as many columns.
func nameOf(head []byte, f *Finding) string {
	name := ""
	_ = Lines(bytes.NewReader(head), func(line []byte, n int) error {
		if len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
		comment := commented(line)
		cells, ok := cellsOf(bytes.TrimRight(bytes.TrimLeft(line, "#; \t"), "\r"), f.Separator, nil)
		if i := f.Column.Number - 1; ok && len(cells) > max(1, i) && isTitle(cells[i].text) && (comment || n == f.Header) {
			name = string(bytes.TrimSpace(cells[i].text))
		}
		if !comment {
			return errDocuments
		}
		return nil
	})
	return name
}

// try counts a file as a format, and refuses it where it fits less than nine tenths of the rows.
func try(head []byte, o Options) (*Finding, error) {
	f, err := count(head, o)
	if err == nil {
		err = enough(f)
	}
	return f, err
}

func enough(f *Finding) error {
	switch {
	case f.Rows == 0:
		return &Misfit{Problem: "the file has no row", Valid: "a list with an address"}
	case f.Good*10 < f.Rows*9:
		return &Misfit{Problem: "no format fits the rows", Valid: "addresses, prefixes or ranges, in lines, in a column or in JSON"}
	}
	return nil
}

// count reads a file as a format.
func count(head []byte, o Options) (*Finding, error) {
	f := &Finding{Options: o}
	var all []netip.Prefix
	sum, err := Read(bytes.NewReader(head), o, func(r *Row) error {
		if r.Problem != "" {
			if len(f.Bad) < maxBadShown {
				f.Bad = append(f.Bad, BadRow{r.At.Line, string(r.Text), r.Problem})
			}
			return nil
		}
		f.Good++
		all = append(all, r.Prefixes...)
		f.Masked, f.Unmapped, f.Split = f.Masked+one(r.Masked), f.Unmapped+one(r.Unmapped), f.Split+one(r.Split)
		return nil
	})
	f.Summary = sum
	slices.SortFunc(all, netip.Prefix.Compare)
	f.Duplicates = len(all)
	all = slices.Compact(all)
	f.Duplicates -= len(all)
	for _, p := range all {
		f.IPv4 += one(p.Addr().Is4())
	}
	f.IPv6 = len(all) - f.IPv4
	return f, err
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
