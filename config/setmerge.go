// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"github.com/spillway/spillway/config/signature"
)

// Merge returns all bundles of the set as one, which is what a host compiles. Of one bundle it is that bundle. Of several
// the names of rules and lists begin with the bundle's (edge/python), and a feature that several bundles name occurs once
// for each of them: the scores add up.
//
//	prefixes   each bundle's lists stay lists of their own: longest match within a list, sum over lists
//	tcp        an equal fingerprint: the sum
//	p0f        an equal signature: the sum; of others the first that fits, the policy's bundle first, then by name
//	ja4        the most specific feature counts, with the most specific one that covers it of each other bundle
//	reasons    the sum
//
// The result has the digest and the name of the set. It is no bundle that anybody could have written.
func (s *Set) Merge() *Bundle {
	if len(s.bundles()) == 1 {
		return s.Bundles[0]
	}
	return s.merge()
}

// merge prefixes the names also in a set of one, so that two sets can be compared.
func (s *Set) merge() *Bundle {
	out := &Bundle{Version: Version, Name: s.Name(), Policy: map[string]Policy{}}
	if s != nil {
		out.Digest = s.Digest
	}
	for _, b := range s.bundles() {
		in := func(name string) string { return b.Name + "/" + name }
		for _, r := range b.Rules {
			r.ID = in(r.ID)
			out.Rules = append(out.Rules, r)
		}
		for _, l := range b.Prefixes {
			l.List, l.Rule = in(l.List), in(l.Rule)
			out.Prefixes = append(out.Prefixes, l)
		}
		for _, f := range b.TCP {
			out.TCP = append(out.TCP, TCPFeature{in(f.Rule), f.Fingerprint})
		}
		for _, f := range b.Reasons {
			out.Reasons = append(out.Reasons, ReasonFeature{in(f.Rule), f.Reason})
		}
		if b.HasPolicy() {
			out.Policy, out.Intent, out.Permits = b.Policy, b.Intent, b.Permits
		}
		out.Warnings = append(out.Warnings, b.Warnings...)
	}
	slices.SortStableFunc(out.TCP, func(x, y TCPFeature) int {
		return strings.Compare(x.Fingerprint.String(), y.Fingerprint.String())
	})
	slices.SortStableFunc(out.Reasons, func(x, y ReasonFeature) int { return strings.Compare(x.Reason, y.Reason) })
	out.JA4, out.P0F = s.mergeJA4(), s.mergeP0F()
	return out
}

// mergeP0F puts the signatures of the policy's bundle first.
func (s *Set) mergeP0F() []P0FFeature {
	order := slices.Clone(s.bundles())
	slices.SortStableFunc(order, func(x, y *Bundle) int {
		if x.HasPolicy() == y.HasPolicy() {
			return 0
		} else if x.HasPolicy() {
			return -1
		}
		return 1
	})
	var out []P0FFeature
	for _, b := range order {
		for _, f := range b.P0F {
			out = append(out, P0FFeature{b.Name + "/" + f.Rule, f.Signature})
		}
	}
	slices.SortStableFunc(out, compareLayout)
	return out
}

// mergeJA4 gives each JA4 that a bundle names to all bundles that have one which covers it, so that a precise feature of
// one bundle does not hide the broad one of another.
func (s *Set) mergeJA4() []JA4Feature {
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
			rules[i][key] = b.Name + "/" + f.Rule
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
	slices.SortStableFunc(out, compareJA4)
	return out
}
