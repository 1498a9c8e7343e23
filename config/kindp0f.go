// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// P0FFeature points from a p0f signature to a rule. Of the signatures that fit one SYN the first in the file counts.
type P0FFeature struct {
	// Rule of this signature, by its id.
	Rule string `yaml:"rule" json:"rule" jsonschema:"required"`
	// Signature is version:ttl:olen:mss:window,scale:layout:quirks:payload as p0f v3 writes it.
	Signature signature.P0F `yaml:"signature" json:"signature" jsonschema:"required"`
}

var p0fKind = family[P0FFeature]{
	key: "p0f", what: "p0f", one: "p0f signature", this: "the signature", text: "signature", room: "tcp_signatures",
	unsaid: true, first: true, files: true,
	in:      func(f *Features) *[]P0FFeature { return &f.P0F },
	rule:    func(f *P0FFeature) *string { return &f.Rule },
	name:    func(f P0FFeature) string { return f.Signature.String() },
	compare: compareLayout,
	check:   checkP0F,
	merged:  mergeP0F,
	crowd:   checkP0FOfSet,
}

// compareLayout orders signatures by layout only: within one, the order of the file decides which counts.
func compareLayout(a, b P0FFeature) int { return strings.Compare(layoutOf(a), layoutOf(b)) }

func layoutOf(f P0FFeature) string {
	return signature.FormatLayout(f.Signature.Layout, f.Signature.EOLPad)
}

// bucketsOf names the places of the kernel's table that a signature takes: one of each IP version.
func bucketsOf(f P0FFeature) []string {
	var out []string
	for _, version := range f.Signature.Versions() {
		out = append(out, fmt.Sprintf("IPv%d with the options %q", version, layoutOf(f)))
	}
	return out
}

// checkP0F refuses more signatures of one layout than the kernel looks through.
func checkP0F(l *bundleLoader) {
	seen := map[string]bool{}
	buckets := map[string][]int{}
	for i, f := range l.b.P0F {
		path := fmt.Sprintf("features.p0f[%d].signature", i)
		text := f.Signature.String()
		if l.d.Bad[path] || !l.d.IsSet(path) || seen[text] {
			continue
		}
		seen[text] = true
		for _, bucket := range bucketsOf(f) {
			buckets[bucket] = append(buckets[bucket], i)
			if len(buckets[bucket]) == signature.MaxP0FBucket+1 {
				l.crowded(bucket, buckets[bucket])
			}
		}
	}
}

// crowded names all the signatures of a bucket: a person must choose which to leave out.
func (l *bundleLoader) crowded(bucket string, members []int) {
	path := func(i int) string { return fmt.Sprintf("features.p0f[%d].signature", i) }
	var all []string
	for _, i := range members {
		all = append(all, fmt.Sprintf("%s (line %d)", l.b.P0F[i].Signature, l.d.Where(path(i)).Line))
	}
	l.d.FaultAt(yaml.CodeCapacity, path(members[len(members)-1]), fmt.Sprintf("%d signatures", len(members)),
		fmt.Sprintf("%d signatures for %s: %s", len(members), bucket, words.List(all, "and")), ofOneBucket())
}

func ofOneBucket() string {
	return fmt.Sprintf("at most %d of one IP version and option layout", signature.MaxP0FBucket)
}

// mergeP0F puts the signatures of the policy's bundle first.
func mergeP0F(s *Set) []P0FFeature {
	order := slices.Clone(s.bundles())
	slices.SortStableFunc(order, func(x, y *Bundle) int { return boolOrder(y.HasPolicy(), x.HasPolicy()) })
	var out []P0FFeature
	for _, b := range order {
		for _, f := range b.P0F {
			out = append(out, P0FFeature{nameIn(b, f.Rule), f.Signature})
		}
	}
	return out
}

// checkP0FOfSet keeps the buckets as small as in one bundle.
func checkP0FOfSet(c *setChecker) {
	type member struct {
		text string
		of   *Bundle
	}
	buckets := map[string][]member{}
	seen := map[string]bool{}
	for _, b := range c.set.Bundles {
		for _, f := range b.P0F {
			text := f.Signature.String()
			if seen[text] {
				continue // an equal one adds up, and takes no place
			}
			seen[text] = true
			for _, bucket := range bucketsOf(f) {
				buckets[bucket] = append(buckets[bucket], member{text + " (" + b.Name + ")", b})
			}
		}
	}
	for _, bucket := range slices.Sorted(maps.Keys(buckets)) {
		members := buckets[bucket]
		if len(members) <= signature.MaxP0FBucket {
			continue
		}
		var texts []string
		for _, m := range members {
			texts = append(texts, m.text)
		}
		c.fault(members[len(members)-1].of, yaml.CodeCapacity, "features.p0f", fmt.Sprintf("%d signatures", len(members)),
			fmt.Sprintf("%d signatures for %s in all bundles: %s", len(members), bucket,
				strings.Join(texts, ", ")), ofOneBucket())
	}
}
