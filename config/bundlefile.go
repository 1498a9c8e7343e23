// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/spillway/spillway/config/yaml"
)

// bundleFile is the bundle as it is written. Bundle is what becomes of it.
type bundleFile struct {
	// Version of this format; 1.
	Version int `yaml:"version" jsonschema:"required,enum=1"`
	// Name of the bundle, for people.
	Name string `yaml:"name" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Rules say what a match means.
	Rules []Rule `yaml:"rules"`
	// Features are the things to match; each names its rule.
	Features featuresFile `yaml:"features"`
	// Policy turns scores into verdicts, per service.
	Policy policyFile `yaml:"policy"`
	// Intent is what the bundle is meant to block newly.
	Intent *intentFile `yaml:"intent"`
}

type featuresFile struct {
	// Prefixes of addresses, in lists. Longest match within a list, sum over lists.
	Prefixes []prefixesFile `yaml:"prefixes"`
	Features
}

type prefixesFile struct {
	// List that the prefixes belong to; it may stand here several times, with different rules.
	List string `yaml:"list" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Rule of these prefixes, by its id.
	Rule string `yaml:"rule" jsonschema:"required"`
	// ThirdParty says that somebody else wrote the list: what would block a protected or private address is left out and
	// counted, not refused.
	ThirdParty bool `yaml:"third_party"`
	// Entries are addresses and prefixes.
	Entries entryTexts `yaml:"entries"`
	// File with the entries, beside the bundle or in a folder below it; # and ; begin comments in it.
	File string `yaml:"file" jsonschema:"maxLength=255"`
	ListFormat
	ListCare
}

type policyFile struct {
	// Default applies to every service without a policy of its own.
	Default *Policy `yaml:"default"`
	// Services by name.
	Services map[string]Policy `yaml:"services"`
	// Permits names other bundles of the host whose rules may have negative scores: they may let pass what this policy
	// would block.
	Permits []string `yaml:"permits" jsonschema:"minItems=1,maxItems=64"`
}

type intentFile struct {
	// Expects is what will be blocked that is not blocked now.
	Expects Intent `yaml:"expects" jsonschema:"required"`
}

// entryText is one entry as it stands in the bundle.
type entryText struct {
	text string
	at   yaml.Position
}

type entryTexts []entryText

// ReadNode reads a list of prefixes without reflection and without remembering their paths: there may be many.
func (e *entryTexts) ReadNode(d *yaml.Decoder, n ast.Node, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.Fault(yaml.CodeType, yaml.Place(n), path, yaml.Written(n), fmt.Sprintf("%s needs a list, not %s",
			yaml.NameOf(path), yaml.TypeOf(n)),
			"[192.0.2.0/24, 2001:db8::/32]")
		return
	}
	if len(seq.Values) == 0 {
		d.Fault(yaml.CodeBlank, yaml.Place(n), path, "", yaml.NameOf(path)+" is an empty list",
			"entries, or leave the block out")
		return
	}
	out := make(entryTexts, 0, len(seq.Values))
	for i, item := range seq.Values {
		if s, ok := item.(*ast.StringNode); ok {
			out = append(out, entryText{text: s.Value, at: yaml.Place(item)})
			continue
		}
		code, problem := yaml.CodeType, "this entry is "+yaml.TypeOf(item)+", not an address"
		if _, null := item.(*ast.NullNode); null {
			code, problem = yaml.CodeNull, "this entry has no value"
		}
		d.Bad[path] = true
		d.Fault(code, yaml.Place(item), fmt.Sprintf("%s[%d]", path, i), yaml.Written(item), problem,
			`192.0.2.0/24, or an IPv6 prefix in quotes: "2001:db8::/32"`)
	}
	*e = out
}
