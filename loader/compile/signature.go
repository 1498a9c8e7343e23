// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

var (
	layoutMap = Map{Name: bpf.DataplaneMapTcpLayouts, Room: "tcp_signatures", Told: "p0f", form: layouts,
		rowsOf:   2, // a signature for both IP versions stands in two
		beside:   knownLayoutsMax,
		features: func(b *builder) int { return countSignatures(b.P0F) },
		count:    func(g *bpf.Generation) *uint32 { return &g.TcpSignatures }}

	layouts = &form[bpf.TCPLayout, bpf.TCPSignatures]{bpf.DataplaneMapTcpLayouts, "tcp_layouts", compareLayouts,
		FormatLayout,
		formatSignatures}
)

// compileSignatures puts the p0f signatures into buckets by IP version and option layout, in the order of the bundle:
// the first that fits counts.
func compileSignatures(b *builder) error {
	to := layouts.of(b.img)
	buckets := map[bpf.TCPLayout][][]config.P0FFeature{} // equal ones of several bundles together: they add up
	// chains are numbered as they are asked for, and two compilations must agree
	var order []bpf.TCPLayout
	for _, f := range b.P0F {
		for _, version := range f.Signature.Versions() {
			key := layoutKey(version, f.Signature)
			if buckets[key] == nil {
				order = append(order, key)
			}
			text := f.Signature.String()
			i := slices.IndexFunc(buckets[key], func(equal []config.P0FFeature) bool {
				return equal[0].Signature.String() == text
			})
			if i >= 0 {
				buckets[key][i] = append(buckets[key][i], f)
				continue
			}
			buckets[key] = append(buckets[key], []config.P0FFeature{f})
		}
	}
	for _, key := range order {
		features := buckets[key]
		if len(features) > bpf.SignaturesMax {
			return fmt.Errorf("compile p0f signatures: %s has %d: %s: %w: at most %d", FormatLayout(key), len(features),
				strings.Join(signatureTexts(features), "; "), ErrCapacity, bpf.SignaturesMax)
		}
		var candidates bpf.TCPSignatures
		for i, equal := range features {
			head, err := b.head(rulesOf(equal, b.index, func(f config.P0FFeature) string { return f.Rule }))
			if err != nil {
				return fmt.Errorf("compile p0f signature %s: %w", equal[0].Signature, err)
			}
			candidates.Candidates[i] = signatureRow(equal[0].Signature, key.Version, head)
		}
		candidates.Families = b.known.layouts[key]
		to.add(key, candidates)
	}
	for key, families := range b.known.layouts {
		if buckets[key] == nil {
			to.add(key, bpf.TCPSignatures{Families: families})
		}
	}
	to.sort()
	return nil
}

func compareLayouts(a, b bpf.TCPLayout) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.KindCount, b.KindCount),
		cmp.Compare(a.EolPad, b.EolPad),
		bytes.Compare(a.Kinds[:], b.Kinds[:]))
}

func signatureTexts(features [][]config.P0FFeature) []string {
	var texts []string
	for _, equal := range features {
		texts = append(texts, equal[0].Signature.String())
	}
	return texts
}

// countSignatures counts equal ones once.
func countSignatures(features []config.P0FFeature) int {
	seen := map[string]bool{}
	for _, f := range features {
		seen[f.Signature.String()] = true
	}
	return len(seen)
}

func layoutKey(version uint8, s signature.P0F) bpf.TCPLayout {
	key := bpf.TCPLayout{Version: version, KindCount: uint8(len(s.Layout)), EolPad: s.EOLPad}
	copy(key.Kinds[:], s.Layout)
	return key
}

// FormatLayout names a place of the table of signatures.
func FormatLayout(key bpf.TCPLayout) string {
	kinds := key.Kinds[:min(int(key.KindCount), len(key.Kinds))]
	return fmt.Sprintf("IPv%d with the options %q", key.Version, signature.FormatLayout(kinds, key.EolPad))
}

// signatureRow is one candidate. A signature for both IP versions is not asked for the other one's quirks.
func signatureRow(s signature.P0F, version uint8, head uint32) bpf.TCPSignature {
	row := bpf.TCPSignature{Head: head, Window: s.Window.N, WindowKind: uint8(s.Window.Kind), Ttl: s.TTL,
		Olen:   s.IPOptions,
		Quirks: uint32(s.Quirks), QuirksMask: uint32(signature.AllQuirks)}
	if s.Version == 0 {
		row.QuirksMask &^= uint32(signature.QuirksOf(10 - version)) // of 6 for 4, and of 4 for 6
	}
	switch s.Payload {
	case signature.PayloadAny:
		row.Flags |= uint8(bpf.SignatureAnyPayload)
	case signature.PayloadSome:
		row.Quirks |= uint32(bpf.QuirkPayload)
		fallthrough
	default:
		row.QuirksMask |= uint32(bpf.QuirkPayload)
	}
	row.Quirks &= row.QuirksMask
	if s.RandomTTL {
		row.Flags |= uint8(bpf.SignatureRandomTTL)
	}
	if s.MSS != nil {
		row.Mss = *s.MSS
	} else {
		row.Flags |= uint8(bpf.SignatureAnyMSS)
	}
	if s.Scale != nil {
		row.Scale = *s.Scale
	} else {
		row.Flags |= uint8(bpf.SignatureAnyScale)
	}
	return row
}

// formatSignatures shows the candidates that are there.
func formatSignatures(s bpf.TCPSignatures) string {
	end := slices.IndexFunc(s.Candidates[:], func(c bpf.TCPSignature) bool { return c.Head == 0 })
	if end < 0 {
		end = len(s.Candidates)
	}
	if s.Families != [4]uint8{} {
		return fmt.Sprintf("%+v, families %v", s.Candidates[:end], s.Families)
	}
	return fmt.Sprintf("%+v", s.Candidates[:end])
}
