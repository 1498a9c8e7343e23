// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/yaml"
)

// prefixLoader turns the prefix blocks of a bundle into sorted, checked lists.
type prefixLoader struct {
	l      *bundleLoader
	set    *protectedSet
	blocks []prefixesFile
	rows   map[string][]row // by list
	counts []*ListCounts    // by block; blocks of one list have the same
	family [2]familyCount
	// lines is how many more lines the list files may have, all together.
	lines int
	// shown holds the list files that were read, and their names in faults.
	shown map[string]string
}

// familyCount counts the rows of IPv4 or IPv6.
type familyCount struct {
	name, capacity string
	room, floor    int
	// read counts rows that could be kept, stored those that were, kept those of them that this host compiles. Far over
	// the capacity, rows are cut: counted only, so that a list of any length cannot take all memory.
	read, stored, kept, cut int
	// over is the first row beyond the capacity.
	over     row
	overFile string
}

func newPrefixLoader(l *bundleLoader) *prefixLoader {
	c, g := l.host.Capacity, l.host.Guards
	return &prefixLoader{
		lines: maxLines(c), l: l, set: newProtectedSet(l.host, l.opts.Own), blocks: l.file.Features.Prefixes,
		rows: map[string][]row{}, shown: map[string]string{},
		family: [2]familyCount{
			{name: "IPv4", capacity: "prefixes_v4", room: c.Prefixes4, floor: g.MinPrefixV4},
			{name: "IPv6", capacity: "prefixes_v6", room: c.Prefixes6, floor: g.MinPrefixV6},
		},
	}
}

// load reads all blocks, checks the lists and fills the bundle's Prefixes.
func (p *prefixLoader) load() {
	parties := map[string]int{}
	for i, b := range p.blocks {
		at := fmt.Sprintf("features.prefixes[%d]", i)
		p.l.reference(at+".rule", b.Rule)
		p.l.reference(at+".rule", b.Rule)
		if first, ok := parties[b.List]; ok {
			p.checkTogether(i, first)
			p.counts = append(p.counts, p.counts[first])
		} else {
			parties[b.List] = i
			p.counts = append(p.counts, &ListCounts{List: b.List})
		}
		p.block(i, at)
	}
	lists := make([]string, 0, len(p.rows))
	for name := range p.rows {
		lists = append(lists, name)
	}
	slices.Sort(lists)
	for _, name := range lists {
		i := parties[name]
		p.list(name, &p.blocks[i], p.counts[i])
		delete(p.rows, name)
	}
	for _, i := range parties {
		p.l.b.Lists = append(p.l.b.Lists, *p.counts[i])
	}
	p.checkCapacity()
	p.fillExcerpts()
}

// spareLines are lines of list files for whoever writes more comments than rows.
const spareLines = 100_000

// maxLines is how many lines the list files of a bundle may have: far more than this host has rows for.
func maxLines(c Capacity) int { return 2*(c.Prefixes4+c.Prefixes6) + spareLines }

// block reads the entries and the file of one block.
func (p *prefixLoader) block(i int, at string) {
	b := &p.blocks[i]
	readable := p.l.checkFormat(at, b)
	p.l.checkCare(at, b)
	if len(b.Entries) == 0 && b.File == "" && !p.l.d.Bad[at+".entries"] && !p.l.d.Bad[at+".file"] {
		p.l.d.FaultAt(yaml.CodeMissing, at, "", at+" has neither entries nor a file",
			"entries: […], or file: lists/name.netset")
		return
	}
	src := p.l.d.Src
	for _, e := range b.Entries {
		p.counts[i].Rows++
		r := row{line: int32(e.at.Line), column: int32(e.at.Column), block: int32(i)}
		if f := p.entry(e.text, r, b); f != nil {
			p.l.d.Out.AddAt(src, f.Code, e.at, at+".entries", e.text, f.Problem, f.Valid)
		}
	}
	if b.File != "" && readable {
		p.file(i, at+".file")
	}
}

// notAddress is why a row of a bundle or a list file is none.
func notAddress(problem string) *yaml.Refusal {
	return &yaml.Refusal{Code: yaml.CodeSyntax, Problem: "the entry " + problem,
		Valid: "192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"}
}

// entry checks one row of the bundle itself and stores it. It returns why the row refuses the bundle.
func (p *prefixLoader) entry(text string, r row, b *prefixesFile) *yaml.Refusal {
	if strings.TrimSpace(text) == "" {
		return &yaml.Refusal{Code: yaml.CodeBlank, Problem: "the entry is blank",
			Valid: "192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"}
	}
	prefix, masked, err := yaml.ParsePrefix(text)
	if err != nil {
		return notAddress(err.Error())
	}
	r.prefix = prefix
	refusal, c := p.add(r, b), p.counts[r.block]
	c.Masked, c.Unmapped = c.Masked+one(masked), c.Unmapped+one(prefix.Addr().Is4() && strings.Contains(text, ":"))
	if refusal == nil && masked && !b.ThirdParty {
		p.l.warnMasked(p.l.d.Src.Name, r, text)
	}
	return refusal
}

// add checks one prefix by itself and stores it. It returns why it refuses the bundle.
func (p *prefixLoader) add(r row, b *prefixesFile) *yaml.Refusal {
	prefix := r.prefix
	who, what := reachOf(prefix)
	if b.ThirdParty && who != reachPublic {
		p.l.b.OmittedReserved++
		p.counts[r.block].Reserved++
		return nil
	}
	if who == reachReserved {
		return &yaml.Refusal{Code: yaml.CodeReserved, Problem: fmt.Sprintf("%s is reserved (%s): no visitor comes from it",
			prefix, what),
			Valid: "addresses that visitors can have"}
	}
	f := p.familyOf(prefix)
	if prefix.Bits() < f.floor {
		return &yaml.Refusal{Code: yaml.CodeFloor, Problem: fmt.Sprintf("%s is wider than /%d", prefix, f.floor),
			Valid: fmt.Sprintf("/%d and longer (guards.min_%s in the host file)", f.floor,
				strings.Replace(f.capacity, "prefixes", "prefix", 1))}
	}
	if f.read++; f.read == f.room+1 {
		f.over, f.overFile = r, p.nameOf(r)
	}
	if f.stored < 2*f.room+1024 {
		f.stored++
		p.rows[b.List] = append(p.rows[b.List], r)
	} else {
		f.cut++
	}
	return nil
}

func (p *prefixLoader) familyOf(prefix netip.Prefix) *familyCount {
	if prefix.Addr().Is4() {
		return &p.family[0]
	}
	return &p.family[1]
}

// nameOf returns the name of the file that a row stands in.
func (p *prefixLoader) nameOf(r row) string {
	if r.inFile {
		return path.Join(path.Dir(p.l.d.Src.Name), p.blocks[r.block].File)
	}
	return p.l.d.Src.Name
}
