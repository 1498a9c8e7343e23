// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/yaml"
)

// JA4Feature points from a JA4, or from the stable JA4, to a rule. Of the features that match one ClientHello the most
// specific one counts: three parts before two before one, and exact before stable.
type JA4Feature struct {
	// Rule of this JA4, by its id.
	Rule string `yaml:"rule" json:"rule" jsonschema:"required"`
	// Match is a JA4; any of its three parts, but not all, may be *.
	Match signature.JA4 `yaml:"match" json:"match" jsonschema:"required"`
	// Stable compares with the stable JA4, in which the extensions 0015, 0023, 0029, 002a and 002c are neither listed nor
	// counted: they come and go with padding and resumption.
	Stable bool `yaml:"stable" json:"stable,omitempty"`
}

var ja4Kind = family[JA4Feature]{
	key: "ja4", what: "ja4", one: "JA4 feature", this: "the JA4", text: "match", room: "ja4s", unsaid: true, first: true,
	in:      func(f *Features) *[]JA4Feature { return &f.JA4 },
	rule:    func(f *JA4Feature) *string { return &f.Rule },
	name:    JA4Feature.String,
	compare: compareJA4,
	check:   func(l *bundleLoader) { l.needsTLS("ja4", len(l.b.JA4), "no JA4") },
	merged:  mergeJA4,
}

// String returns the match, and says when it is the stable JA4's.
func (f JA4Feature) String() string {
	if f.Stable {
		return "stable " + f.Match.String()
	}
	return f.Match.String()
}

// compareJA4 orders exact before stable, then by text.
func compareJA4(a, b JA4Feature) int {
	if a.Stable != b.Stable {
		if b.Stable {
			return -1
		}
		return 1
	}
	return strings.Compare(a.Match.String(), b.Match.String())
}

// needsTLS warns of features that need a ClientHello where no service has one.
func (l *bundleLoader) needsTLS(key string, count int, none string) {
	tls := func(s Service) bool { return s.Kind == KindTLS }
	if count > 0 && l.services != nil && !slices.ContainsFunc(l.services, tls) {
		l.warnAt(yaml.CodeUnused, "features."+key, "", "no service of this host is tls, so "+none+" matches anything",
			"a service with kind: tls in the host file")
	}
}

// mergeJA4 gives each JA4 that a bundle names to all bundles that have one which covers it, so that a precise feature
// of one bundle does not hide the broad one of another.
func mergeJA4(s *Set) []JA4Feature {
	type pattern struct {
		match  signature.JA4
		stable bool
	}
	var keys []pattern
	known := map[pattern]bool{}
	rules := make([]map[pattern]string, len(s.bundles()))
	for i, b := range s.bundles() {
		rules[i] = map[pattern]string{}
		for _, f := range b.JA4 {
			key := pattern{f.Match, f.Stable}
			rules[i][key] = nameIn(b, f.Rule)
			if !known[key] {
				known[key], keys = true, append(keys, key)
			}
		}
	}
	var out []JA4Feature
	for _, key := range keys {
		for i := range rules {
			for _, wider := range key.match.Wider() {
				if rule, ok := rules[i][pattern{wider, key.stable}]; ok {
					out = append(out, JA4Feature{Rule: rule, Match: key.match, Stable: key.stable})
					break
				}
			}
		}
	}
	return out
}
