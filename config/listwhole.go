// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"fmt"

	"github.com/spillway/spillway/config/feed"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// whole refuses a file that lacks what a whole one has. One without a row is never whole: to block nobody a list is
// taken out of the bundle, and does not become empty by itself.
func (f *listFile) whole(sum feed.Summary) {
	e := f.b.Expect
	switch {
	case sum.Rows == 0:
		f.incomplete("it has no row", "a list with an address, or the bundle without this list")
	case f.kept == 0 && f.bad.Len() == 0:
		f.incomplete(fmt.Sprintf("none of its %d rows is an address that a visitor can have", sum.Rows),
			"a list of public addresses, or the bundle without this list")
	}
	if sum.Rows < e.MinRows && sum.Rows > 0 {
		f.incomplete(fmt.Sprintf("it has %d rows, and at least %d are expected", sum.Rows, e.MinRows),
			"the whole file, or a smaller expect.min_rows")
	}
	if e.Trailer != "" && !bytes.Contains(sum.Last, []byte(e.Trailer)) {
		f.incomplete(fmt.Sprintf("its last line, %q, does not hold the trailer %q", words.Shorten(string(sum.Last)),
			e.Trailer),
			"the whole file, or another expect.trailer")
	}
	switch {
	case e.CountFrom == "" || sum.Count == sum.Rows:
	case sum.Count < 0:
		f.incomplete(fmt.Sprintf("no number stands behind %q", e.CountFrom), "another expect.count_from")
	default:
		f.incomplete(fmt.Sprintf("it has %d rows, and says that it has %d", sum.Rows, sum.Count), "the whole file")
	}
}

// judge makes faults of the bad rows, or warnings where they are few enough.
func (f *listFile) judge(rows int) {
	n, most := f.bad.Len(), f.b.MaxBadRows
	switch {
	case n == 0:
		return
	case f.b.ThirdParty && float64(n)*100 <= float64(most)*float64(rows) && !f.lastBad && !f.hard:
		f.c.Bad += n
		f.p.l.warn.Join(f.bad)
		return
	case most > 0 && f.lastBad:
		f.incomplete("its last row is bad: it was cut off", "the whole file; max_bad_rows never excuses the last row")
	case most > 0 && !f.hard:
		f.incomplete(fmt.Sprintf("%d of its %d rows are bad", n, rows), fmt.Sprintf("at most %s (max_bad_rows)", most))
	}
	f.p.l.d.Out.Join(f.bad)
}

// incomplete is a fault of the file as a whole.
func (f *listFile) incomplete(problem, valid string) {
	f.faults.Add(yaml.Fault{Code: yaml.CodeIncomplete, File: f.shown, Path: f.at,
		Problem: "the list file is not whole: " + problem,
		Valid:   valid})
}
