// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/words"
)

func (l *bundleLoader) buildTCP() {
	features := l.file.Features.TCP
	if n := len(features); n > l.host.Capacity.TCPFingerprints {
		l.d.capacity("features.tcp", n, "TCP fingerprints", l.host.Capacity.TCPFingerprints, "tcp_fingerprints")
	}
	first := map[string]string{}
	for i, f := range features {
		path := fmt.Sprintf("features.tcp[%d]", i)
		l.reference(path+".rule", f.Rule)
		if l.d.isSet(path + ".muonfp") {
			l.d.unique(first, f.MuonFP.String(), path+".muonfp", "the fingerprint")
		}
		l.b.TCP = append(l.b.TCP, TCPFeature{Rule: f.Rule, Fingerprint: f.MuonFP})
	}
}

func (l *bundleLoader) buildJA4() {
	features := l.file.Features.JA4
	if n := len(features); n > l.host.Capacity.JA4s {
		l.d.capacity("features.ja4", n, "JA4 features", l.host.Capacity.JA4s, "ja4s")
	}
	if len(features) > 0 && l.services != nil && !slices.ContainsFunc(l.services, func(s Service) bool { return s.Kind == KindTLS }) {
		l.warnAt(CodeUnused, "features.ja4", "", "no service of this host is tls, so no JA4 matches anything", "a service with kind: tls in the host file")
	}
	first := map[string]string{}
	for i, f := range features {
		path := fmt.Sprintf("features.ja4[%d]", i)
		l.reference(path+".rule", f.Rule)
		feature := JA4Feature{Rule: f.Rule, Match: f.Match, Stable: f.Stable}
		if l.d.isSet(path + ".match") {
			l.d.unique(first, feature.String(), path+".match", "the JA4")
		}
		l.b.JA4 = append(l.b.JA4, feature)
	}
}

func (l *bundleLoader) buildP0F() {
	features := l.file.Features.P0F
	if n := len(features); n > l.host.Capacity.TCPSignatures {
		l.d.capacity("features.p0f", n, "p0f signatures", l.host.Capacity.TCPSignatures, "tcp_signatures")
	}
	first := map[string]string{}
	buckets := map[string][]int{}
	for i, f := range features {
		path := fmt.Sprintf("features.p0f[%d]", i)
		l.reference(path+".rule", f.Rule)
		l.b.P0F = append(l.b.P0F, P0FFeature(f))
		if l.d.bad[path+".signature"] || !l.d.isSet(path+".signature") || !l.d.unique(first, f.Signature.String(), path+".signature", "the signature") {
			continue
		}
		for _, version := range f.Signature.Versions() {
			bucket := fmt.Sprintf("IPv%d with the options %q", version, signature.FormatLayout(f.Signature.Layout, f.Signature.EOLPad))
			buckets[bucket] = append(buckets[bucket], i)
			if len(buckets[bucket]) == signature.MaxP0FBucket+1 {
				l.crowded(bucket, buckets[bucket])
			}
		}
	}
}

// crowded names all the signatures of a bucket: a person must choose which to leave out.
func (l *bundleLoader) crowded(bucket string, members []int) {
	var all []string
	for _, i := range members {
		path := fmt.Sprintf("features.p0f[%d].signature", i)
		all = append(all, fmt.Sprintf("%s (line %d)", l.file.Features.P0F[i].Signature, l.d.where(path).line))
	}
	last := members[len(members)-1]
	l.d.faultAt(CodeCapacity, fmt.Sprintf("features.p0f[%d].signature", last), fmt.Sprintf("%d signatures", len(members)),
		fmt.Sprintf("%d signatures for %s: %s", len(members), bucket, words.List(all, "and")), fmt.Sprintf("at most %d of one IP version and option layout", signature.MaxP0FBucket))
}

// compareLayout orders signatures by layout only: within one, the order of the file decides which counts.
func compareLayout(a, b P0FFeature) int {
	return strings.Compare(signature.FormatLayout(a.Signature.Layout, a.Signature.EOLPad), signature.FormatLayout(b.Signature.Layout, b.Signature.EOLPad))
}
