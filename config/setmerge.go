// SPDX-License-Identifier: Apache-2.0

package config

// Merge returns all bundles of the set as one, which is what a host compiles. Of one bundle it is that bundle. Of
// several the names of rules and lists begin with the bundle's (edge/python), and a feature that several bundles name
// occurs once for each of them: the scores add up.
//
//	prefixes   each bundle's lists stay lists of their own: longest match within a list, sum over lists
//	tcp        an equal fingerprint: the sum
//	p0f        an equal signature: the sum; of others the first that fits, the policy's bundle first, then by name
//	ja4        the most specific feature counts, with the most specific one that covers it of each other bundle
//	reasons    the sum
//	pairs      an equal pair: the sum
//
// The result has the digest and the name of the set. It is no bundle that anybody could have written.
func (s *Set) Merge() *Bundle {
	if len(s.bundles()) != 1 {
		return s.merge()
	}
	one := s.Bundles[0]
	if host := s.host(); !host.IsZero() {
		with := *one
		with.Digest, with.Host = s.Digest, host
		return &with
	}
	return one
}

// merge prefixes the names also in a set of one, so that two sets can be compared.
func (s *Set) merge() *Bundle {
	out := &Bundle{Version: Version, Name: s.Name(), Policy: map[string]Policy{}}
	if s != nil {
		out.Digest, out.Host = s.Digest, s.Host
	}
	for _, b := range s.bundles() {
		for _, r := range b.Rules {
			r.ID = nameIn(b, r.ID)
			out.Rules = append(out.Rules, r)
		}
		for _, l := range b.Prefixes {
			l.List, l.Rule = nameIn(b, l.List), nameIn(b, l.Rule)
			out.Prefixes = append(out.Prefixes, l)
		}
		if b.HasPolicy() {
			out.Policy, out.Intent, out.Permits = b.Policy, b.Intent, b.Permits
		}
		out.Warnings = append(out.Warnings, b.Warnings...)
	}
	for _, k := range kinds {
		k.merge(s, out)
	}
	return out
}

// nameIn returns what a rule or a list of a bundle is called in a set.
func nameIn(b *Bundle, name string) string { return b.Name + "/" + name }
