// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// KeptPerCode bounds the memory that a file with a million faults can take. Counting goes on.
	KeptPerCode = 100
	// printedFaults is how many faults fit on a screen or two.
	printedFaults = 20
)

// Faults is the error of every function here that reads a file: all that is wrong with it.
type Faults struct {
	// List is in the order of file, line and column; at most 100 of each code.
	List []Fault
	// Total counts all faults, also those that List leaves out.
	Total int
	// Counts has the number of faults by code.
	Counts map[string]int
}

// Error prints up to 20 faults with excerpts, at least one of each code, and how many more there are.
func (f *Faults) Error() string {
	shown := f.pick(printedFaults)
	var b strings.Builder
	for i, fault := range shown {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(fault.String())
		if fault.Excerpt != "" {
			b.WriteByte('\n')
			b.WriteString(fault.Excerpt)
		}
	}
	if more := f.Total - len(shown); more > 0 {
		fmt.Fprintf(&b, "\nand %d more: %s", more, f.summary(shown))
	}
	return b.String()
}

// Unwrap returns the errors behind the faults, such as fs.ErrNotExist.
func (f *Faults) Unwrap() []error {
	var causes []error
	for _, fault := range f.List {
		if fault.Cause != nil {
			causes = append(causes, fault.Cause)
		}
	}
	return causes
}

// Has reports whether one of the faults has the code.
func (f *Faults) Has(code string) bool { return f.Counts[code] > 0 }

// pick chooses n faults: the first of each code, so that none hides behind a flood of another, then by position.
func (f *Faults) pick(n int) []Fault {
	if len(f.List) <= n {
		return f.List
	}
	chosen := make([]bool, len(f.List))
	seen := map[string]bool{}
	left := n
	for i, fault := range f.List {
		if left > 0 && !seen[fault.Code] {
			seen[fault.Code], chosen[i] = true, true
			left--
		}
	}
	var shown []Fault
	for i, fault := range f.List {
		if !chosen[i] && left > 0 {
			chosen[i] = true
			left--
		}
		if chosen[i] {
			shown = append(shown, fault)
		}
	}
	return shown
}

func (f *Faults) summary(shown []Fault) string {
	rest := map[string]int{}
	for code, n := range f.Counts {
		rest[code] = n
	}
	for _, fault := range shown {
		rest[fault.Code]--
	}
	var parts []string
	for code, n := range rest {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, code))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// Collector gathers faults or warnings while a file is read.
type Collector struct {
	List   []Fault
	counts map[string]int
	total  int
}

// NewCollector returns one without faults.
func NewCollector() *Collector { return &Collector{counts: map[string]int{}} }

// Room reports whether another fault of this code would be kept. Callers that need work for an excerpt ask first.
func (c *Collector) Room(code string) bool { return c.counts[code] < KeptPerCode }

// Add counts a fault, and keeps it while there is room for its code.
func (c *Collector) Add(f Fault) {
	if c.Room(f.Code) {
		c.List = append(c.List, f)
	}
	c.counts[f.Code]++
	c.total++
}

// Join adds what another collector has.
func (c *Collector) Join(other *Collector) {
	kept := map[string]int{}
	for _, f := range other.List {
		kept[f.Code]++
		c.Add(f)
	}
	for code, n := range other.counts {
		for range n - kept[code] {
			c.Add(Fault{Code: code})
		}
	}
}

// Len returns how many there are, those included that were not kept.
func (c *Collector) Len() int { return c.total }

// AddAt adds a fault with its excerpt. A fault that will not be kept costs nothing: a line of megabytes may hold
// hundreds of thousands.
func (c *Collector) AddAt(src *Source, code string, at Position, path, value, problem, valid string) {
	if c.Room(code) {
		c.Add(src.Fault(code, at, path, value, problem, valid))
	} else {
		c.Add(Fault{Code: code})
	}
}

// Err returns nil or a *Faults.
func (c *Collector) Err() error {
	if c.total == 0 {
		return nil
	}
	c.sort()
	return &Faults{List: c.List, Total: c.total, Counts: c.counts}
}

func (c *Collector) sort() {
	slices.SortStableFunc(c.List, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Warnings returns the list, with one element more for each code that has more than were kept.
func (c *Collector) Warnings() []Fault {
	c.sort()
	var codes []string
	for code, n := range c.counts {
		if n > KeptPerCode {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	out := c.List
	for _, code := range codes {
		i := slices.IndexFunc(out, func(f Fault) bool { return f.Code == code })
		out = append(out, Fault{Code: code, File: out[i].File, Problem: fmt.Sprintf("and %d more of this kind",
			c.counts[code]-KeptPerCode)})
	}
	return out
}
