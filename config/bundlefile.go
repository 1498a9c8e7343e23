// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/spillway/spillway/config/signature"
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
	// TCP fingerprints of SYN packets.
	TCP []tcpFile `yaml:"tcp"`
	// JA4 of ClientHellos to tls services. Of the features that match one ClientHello the most specific counts: three parts
	// before two before one, and exact before stable.
	JA4 []ja4File `yaml:"ja4"`
	// P0F are p0f v3 signatures of SYN packets. Of those that fit one SYN the first in the file counts; at most 8 may have
	// the same IP version and layout of TCP options. The scores of a prefix, of a TCP fingerprint, of a p0f signature and
	// of a JA4 add up.
	P0F []p0fFile `yaml:"p0f"`
	// Reasons that the dataplane gives for packets it could not fingerprint.
	Reasons []ReasonFeature `yaml:"reasons"`

	_ struct{} `later:"pairs"`
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
	Entries []entryText `yaml:"entries"`
	// File with one address or prefix a line, beside the bundle or in a folder below it; # and ; begin comments.
	File string `yaml:"file" jsonschema:"maxLength=255"`
}

type tcpFile struct {
	// Rule of this fingerprint, by its id.
	Rule string `yaml:"rule" jsonschema:"required"`
	// MuonFP is window:kinds:mss:scale of the SYN.
	MuonFP signature.MuonFP `yaml:"muonfp" jsonschema:"required"`
}

type ja4File struct {
	// Rule of this JA4, by its id.
	Rule string `yaml:"rule" jsonschema:"required"`
	// Match is a JA4; any of its three parts, but not all, may be *.
	Match signature.JA4 `yaml:"match" jsonschema:"required"`
	// Stable compares with the stable JA4, in which the extensions 0015, 0023, 0029, 002a and 002c are neither listed nor
	// counted: they come and go with padding and resumption.
	Stable bool `yaml:"stable"`
}

type p0fFile struct {
	// Rule of this signature, by its id.
	Rule string `yaml:"rule" jsonschema:"required"`
	// Signature is version:ttl:olen:mss:window,scale:layout:quirks:payload as p0f v3 writes it.
	Signature signature.P0F `yaml:"signature" jsonschema:"required"`
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

	_ struct{} `later:"limits,tags"`
}

// entryText is one entry as it stands in the bundle.
type entryText struct {
	text string
	at   position
}

// entries reads a list of prefixes without reflection and without remembering their paths: there may be many.
func (d *decoder) entries(n ast.Node, into *[]entryText, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(CodeType, place(n), path, written(n), fmt.Sprintf("%s needs a list, not %s", nameOf(path), typeOf(n)), "[192.0.2.0/24, 2001:db8::/32]")
		return
	}
	if len(seq.Values) == 0 {
		d.fault(CodeBlank, place(n), path, "", nameOf(path)+" is an empty list", "entries, or leave the block out")
		return
	}
	out := make([]entryText, 0, len(seq.Values))
	for i, item := range seq.Values {
		if s, ok := item.(*ast.StringNode); ok {
			out = append(out, entryText{s.Value, place(item)})
			continue
		}
		code, problem := CodeType, "this entry is "+typeOf(item)+", not an address"
		if _, null := item.(*ast.NullNode); null {
			code, problem = CodeNull, "this entry has no value"
		}
		d.bad[path] = true
		d.fault(code, place(item), fmt.Sprintf("%s[%d]", path, i), written(item), problem, `192.0.2.0/24, or an IPv6 prefix in quotes: "2001:db8::/32"`)
	}
	*into = out
}
