// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/spillway/spillway/config/yaml"
)

// ListCare says what is put right in a list that somebody else wrote, and what its file must have to be whole. What an
// author writes is never put right: a slip of his own is a fault.
type ListCare struct {
	// MaxDuplicates is the share of rows that may stand twice in a third_party list, and are merged; more refuse the
	// bundle.
	MaxDuplicates Percent `yaml:"max_duplicates" jsonschema:"default=1%" limit:"0%..100%"`
	// MaxBadRows is the share of rows of a third_party file that may be no address, and are left out; never the last one.
	MaxBadRows Percent `yaml:"max_bad_rows" jsonschema:"default=0%" limit:"0%..0.1%"`
	// Merge joins neighbours and what lies inside of another row, of a third_party list with one rule.
	Merge bool `yaml:"merge"`
	// IPv6 is the length that longer IPv6 rows are widened to, of a third_party list with one rule.
	IPv6 string `yaml:"ipv6" jsonschema:"enum=/48,enum=/56,enum=/64"`
	// Expect is what the file must have, or it was cut off.
	Expect Expect `yaml:"expect"`
}

// Expect is what a whole file has.
type Expect struct {
	// MinRows is the least number of rows.
	MinRows int `yaml:"min_rows" jsonschema:"minimum=1,maximum=100000000"`
	// Trailer is a text that its last line holds.
	Trailer string `yaml:"trailer" jsonschema:"maxLength=255"`
	// CountFrom is the text before the number of rows that the file says of itself; in json the field that has it.
	CountFrom string `yaml:"count_from" jsonschema:"maxLength=255"`
}

// SetDefaults gives a block what it need not say.
func (c *ListCare) SetDefaults() { c.MaxDuplicates = 1 }

// widest returns the length that IPv6 rows are widened to; 128 where they stay as they are.
func (c *ListCare) widest() int {
	bits := 128
	if c.IPv6 != "" {
		_, _ = fmt.Sscanf(c.IPv6, "/%d", &bits)
	}
	return bits
}

// careKeys are those of lists that somebody else wrote; file says that they are about its file.
var careKeys = []struct {
	key  string
	file bool
}{{"max_duplicates", false}, {"max_bad_rows", true}, {"merge", false}, {"ipv6", false}}

// checkCare refuses keys where there is nothing that they could be for.
func (l *bundleLoader) checkCare(at string, b *prefixesFile) {
	for _, k := range careKeys {
		switch path := at + "." + k.key; {
		case !l.d.IsSet(path) || l.d.Bad[path]:
		case !b.ThirdParty && !l.d.Bad[at+".third_party"]:
			l.d.FaultAt(yaml.CodeReference, path, "", k.key+" is for a list that somebody else wrote: an own one is put right by "+
				"its author", "third_party: true, or leave "+k.key+" out")
		case k.file && b.File == "":
			l.d.FaultAt(yaml.CodeMissing, path, "", k.key+" is for a list file, and there is none", "file: lists/name.netset")
		}
	}
	if l.d.IsSet(at+".expect") && b.File == "" && !l.d.Bad[at+".file"] {
		l.d.FaultAt(yaml.CodeMissing, at+".expect", "", "expect is for a list file, and there is none",
			"file: lists/name.netset")
	}
}

// checkTogether refuses two blocks of one list that would have it read in two ways.
func (p *prefixLoader) checkTogether(i, other int) {
	at, a, b := fmt.Sprintf("features.prefixes[%d]", i), &p.blocks[i], &p.blocks[other]
	line := p.l.d.Where(fmt.Sprintf("features.prefixes[%d]", other)).Line
	whole := b.Merge || a.Merge || b.IPv6 != "" || a.IPv6 != ""
	switch {
	case a.ThirdParty != b.ThirdParty:
		p.l.d.FaultAt(yaml.CodeType, at, "", fmt.Sprintf("the list %s is third_party in one block and own in another (line %d)",
			a.List, line), "one of both for a list")
	case a.MaxDuplicates != b.MaxDuplicates || a.Merge != b.Merge || a.IPv6 != b.IPv6:
		p.l.d.FaultAt(yaml.CodeType, at, "", fmt.Sprintf("max_duplicates, merge and ipv6 of the list %s are others in line %d",
			a.List, line), "the same in all blocks of a list")
	case whole && a.Rule != b.Rule:
		p.l.d.FaultAt(yaml.CodeType, at, "", fmt.Sprintf("merge and ipv6 need one rule, and the list %s has another in line %d",
			a.List, line), "one rule for the list")
	}
}
