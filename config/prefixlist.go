// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config/yaml"
)

// list sorts and checks the rows of one list and adds them to the bundle, one PrefixList for each rule.
func (p *prefixLoader) list(name string, b *prefixesFile, c *ListCounts) {
	rows, thirdParty := p.rows[name], b.ThirdParty
	slices.SortFunc(rows, compareRows)
	rows = p.duplicates(name, rows, b, c)
	if b.IPv6 != "" {
		rows, c.Widened = widen(rows, b.widest())
	}
	if b.Merge {
		n := len(rows)
		rows = aggregate(rows, func(prefix netip.Prefix) int { return p.familyOf(prefix).floor })
		c.Merged = n - len(rows)
	}
	c.Prefixes = len(rows)
	left := map[netip.Prefix]bool{}
	p.set.each(rows, func(r row, g guarded) {
		if thirdParty { // it stays the author's, and takes no room here
			left[r.prefix] = true
			c.Protected++
			p.familyOf(r.prefix).kept--
			return
		}
		p.fault(yaml.CodeProtected, r, g.problem(r.prefix),
			"entries outside of protected and own addresses; a wider one is allowed, and carves them out")
	})
	here := rows
	if len(left) > 0 {
		p.l.b.OmittedProtected += len(left)
		here = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return left[r.prefix] })
	}
	p.l.b.Carved = append(p.l.b.Carved, p.set.carved(here)...)
	counts := map[string]int{}
	for _, r := range rows {
		p.familyOf(r.prefix).kept++
		counts[p.blocks[r.block].Rule]++
	}
	byRule := map[string][]netip.Prefix{}
	for rule, n := range counts {
		byRule[rule] = make([]netip.Prefix, 0, n)
	}
	for _, r := range rows {
		rule := p.blocks[r.block].Rule
		byRule[rule] = append(byRule[rule], r.prefix)
	}
	for rule, entries := range byRule {
		p.l.b.Prefixes = append(p.l.b.Prefixes, PrefixList{List: name, Rule: rule, ThirdParty: thirdParty, Entries: entries})
	}
}

// duplicates merges rows of files that somebody else wrote, as long as few of them stand there twice: a query that lost
// a filter doubles all of them. Every other row that comes again is a fault, and both places are named.
func (p *prefixLoader) duplicates(name string, rows []row, b *prefixesFile, c *ListCounts) []row {
	type again struct{ first, row int }
	var all []again
	for i := 1; i < len(rows); i++ {
		first := i - 1
		for i < len(rows) && rows[i].prefix == rows[first].prefix {
			all = append(all, again{first, i})
			i++
		}
	}
	few := b.ThirdParty && float64(len(all))*100 <= float64(b.MaxDuplicates)*float64(len(rows))
	valid := "each prefix once in a list"
	if b.ThirdParty && !few {
		valid += fmt.Sprintf("; of somebody else's files up to %s are merged (max_duplicates)", b.MaxDuplicates)
	}
	merged := make([]int, 0, len(all))
	for _, a := range all {
		first, r := rows[a.first], rows[a.row]
		if few && first.inFile && r.inFile && p.blocks[first.block].Rule == p.blocks[r.block].Rule {
			merged = append(merged, a.row)
			continue
		}
		where := fmt.Sprintf("line %d", first.line)
		if file := p.nameOf(first); file != p.nameOf(r) {
			where = fmt.Sprintf("%s:%d", file, first.line)
		}
		p.fault(yaml.CodeDuplicate, r, fmt.Sprintf("%s is in the list %s a second time; the first is in %s", r.prefix, name,
			where), valid)
	}
	c.Duplicates = len(merged)
	return without(rows, merged)
}

// without takes out the rows of some indexes, which are sorted.
func without(rows []row, indexes []int) []row {
	if len(indexes) == 0 {
		return rows
	}
	out := rows[:0]
	for i, r := range rows {
		if len(indexes) > 0 && indexes[0] == i {
			indexes = indexes[1:]
			continue
		}
		out = append(out, r)
	}
	return out
}

// fault adds a fault at a row. Rows of list files get their excerpts at the end.
func (p *prefixLoader) fault(code string, r row, problem, valid string) {
	if !r.inFile {
		p.l.d.Out.AddAt(p.l.d.Src, code, r.at(), fmt.Sprintf("features.prefixes[%d].entries", r.block), r.prefix.String(),
			problem, valid)
		return
	}
	p.l.d.Out.Add(yaml.Fault{Code: code, File: p.nameOf(r), Line: int(r.line), Column: int(r.column),
		Path:  fmt.Sprintf("features.prefixes[%d].file", r.block),
		Value: r.prefix.String(), Problem: problem, Valid: valid})
}

func (p *prefixLoader) checkCapacity() {
	for i := range p.family {
		f := &p.family[i]
		if f.kept <= f.room && f.cut == 0 {
			continue
		}
		what := fmt.Sprintf("%d %s prefixes", f.kept+f.cut, f.name)
		r := f.over
		fault := yaml.Fault{Code: yaml.CodeCapacity, File: f.overFile, Line: int(r.line), Column: int(r.column),
			Path: "features.prefixes", Value: what,
			Problem: fmt.Sprintf("%s, capacity %d", what,
				f.room), Valid: fmt.Sprintf("at most %d (capacity.%s in the host file)", f.room, f.capacity)}
		if !r.inFile {
			fault.Excerpt = yaml.Excerpt(p.l.d.Src.Line(int(r.line)), r.at())
		}
		p.l.d.Out.Add(fault)
	}
}

// errEnough ends a scan that found all it wanted.
var errEnough = errors.New("enough")

// fillExcerpts reads list files a second time for the lines that faults were found in after the first.
func (p *prefixLoader) fillExcerpts() {
	wanted := map[string]map[int][]*yaml.Fault{}
	for _, c := range []*yaml.Collector{p.l.d.Out, p.l.warn} {
		for i := range c.List {
			f := &c.List[i]
			if _, ok := p.shown[f.File]; !ok || f.Line == 0 || f.Excerpt != "" {
				continue
			}
			if wanted[f.File] == nil {
				wanted[f.File] = map[int][]*yaml.Fault{}
			}
			wanted[f.File][f.Line] = append(wanted[f.File][f.Line], f)
		}
	}
	for shown, lines := range wanted {
		left := len(lines)
		// A file that can no longer be read, or has no lines, leaves its faults without excerpts; they stand by themselves.
		_ = p.l.eachLine(p.shown[shown], func(line []byte, n int) error {
			if len(lines[n]) == 0 {
				return nil
			}
			for _, f := range lines[n] {
				f.Excerpt = yaml.Excerpt(string(line), yaml.Position{Line: f.Line, Column: f.Column})
			}
			if left--; left == 0 {
				return errEnough
			}
			return nil
		})
	}
}
