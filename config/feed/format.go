// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config/yaml"
)

// Format is how a list file is written.
type Format string

// The formats, as bundles call them. "" is Plain.
const (
	Plain  Format = "plain"
	CSV    Format = "csv"
	JSON   Format = "json"
	Ranges Format = "ranges"
)

// importer reads one format.
type importer struct {
	name Format
	read func(*source, Options, func(*Row) error) error
}

// importers has one row for each format.
var importers = []importer{
	{Plain, func(s *source, o Options, each func(*Row) error) error { return s.readLines(o, plainLines{}, each) }},
	{CSV, func(s *source, o Options, each func(*Row) error) error { return s.readLines(o, newCSV(o), each) }},
	{Ranges, func(s *source, o Options, each func(*Row) error) error { return s.readLines(o, &rangeLines{}, each) }},
	{JSON, readJSON},
}

// Options say how a file is read. The zero value is Plain.
type Options struct {
	Format Format
	// Column of the addresses in CSV; required there.
	Column Column
	// Separator of the columns in CSV; 0 is a comma, a blank stands for any number of blanks.
	Separator byte
	// Fields that hold addresses in JSON, at any depth; nil is UsualFields.
	Fields []string
	// CountFrom is the text before the number of rows that the file says of itself, in JSON the field with it; "" for
	// none.
	CountFrom string
	// MaxLines bounds the lines, blank ones included, in JSON the rows; 0 is no bound.
	MaxLines int
}

// Column is one of a CSV file, by its number from 1 or by its name in the header.
type Column struct {
	Number int
	Name   string
}

// Row is one address, prefix or range as the file has it.
type Row struct {
	// Text as written, without quotes; valid until the next row.
	Text []byte
	At   yaml.Position
	// Prefixes that the row stands for, masked, IPv4-mapped ones as IPv4: one, or those that a range is split into. None
	// where the row is bad. Valid until the next row.
	Prefixes []netip.Prefix
	Steps
	// Problem is why the row is bad, "" where it is not; Hard is true for what no number of good rows excuses.
	Problem string
	Hard    bool
}

// Steps are what became of a row so that it is prefixes.
type Steps struct {
	Masked   bool // bits beyond its length were set
	Unmapped bool // it was written as an IPv6 address of an IPv4 one
	Split    bool // it is a range of several prefixes
}

// Summary is what there is to say of a whole file.
type Summary struct {
	Rows int // bad ones included
	// Lines are what Options.MaxLines bounds.
	Lines int
	// Header is the number of the line that names the columns; 0 for none.
	Header int
	// Last is the last line that is not blank, at most its last 4 KiB.
	Last []byte
	// Count is the number that stands behind Options.CountFrom; -1 for none.
	Count int
	// Names has JSON fields outside of Options.Fields that hold addresses, at most eight.
	Names []string
}

// ErrTooManyLines says that a file has more lines than Options.MaxLines.
var ErrTooManyLines = errors.New("too many lines")

// Misfit is an error: the file is not what its format says.
type Misfit struct {
	At      yaml.Position
	Problem string // what the file is
	Valid   string // what to write

	none bool // no other format reads it either, whatever fits
}

// Error implements error.
func (m *Misfit) Error() string {
	return fmt.Sprintf("%d:%d: %s; valid: %s", m.At.Line, m.At.Column, m.Problem, m.Valid)
}

// Read calls each for every row of a file, until each returns an error. It returns a *Misfit, ErrTooManyLines, an error
// of r or that of each. The summary is of what was read.
func Read(r io.Reader, o Options, each func(*Row) error) (Summary, error) {
	if o.Format == "" {
		o.Format = Plain
	}
	i := slices.IndexFunc(importers, func(one importer) bool { return one.name == o.Format })
	if i < 0 {
		return Summary{}, fmt.Errorf("no format %q", o.Format)
	}
	t := &tail{r: r}
	s := &source{r: bufio.NewReaderSize(t, maxLine), sum: Summary{Count: -1}}
	err := s.begin(o.Format)
	if err == nil {
		err = importers[i].read(s, o, func(row *Row) error {
			s.sum.Rows++
			if len(row.Prefixes) > 0 {
				s.good++
			} else if s.good == 0 && s.sum.Rows == hopeless {
				return noneFits(o.Format, row)
			}
			return each(row)
		})
	}
	s.sum.Last = t.lastLine()
	return s.sum, err
}
