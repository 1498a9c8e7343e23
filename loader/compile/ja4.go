// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

var (
	ja4Map = Map{Name: bpf.DataplaneMapJa4s, Room: "ja4s", Told: "ja4", form: ja4s, beside: knownJA4sMax,
		features: func(b *builder) int { return countJA4s(b.JA4) },
		count:    func(g *bpf.Generation) *uint32 { return &g.Ja4s }}

	ja4s = &form[bpf.JA4Key, uint32]{bpf.DataplaneMapJa4s, "ja4s", compareJA4s, formatJA4Key, formatJA4Value}
)

func compileJA4s(b *builder) error {
	to := ja4s.of(b.img)
	for features := range equalRuns(b.JA4, sameJA4) {
		f := features[0]
		head, err := b.head(rulesOf(features, b.index, func(f config.JA4Feature) string { return f.Rule }))
		if err != nil {
			return fmt.Errorf("compile ja4 %s: %w", f, err)
		}
		key := ja4Key(f)
		to.add(key, head)
		b.img.generation.Ja4Forms |= 1 << key.Form
	}
	b.addKnown(to)
	to.sort()
	return nil
}

func sameJA4(x, y config.JA4Feature) bool { return x.Match == y.Match && x.Stable == y.Stable }

// countJA4s counts equal ones once.
func countJA4s(features []config.JA4Feature) int {
	n := 0
	for range equalRuns(features, sameJA4) {
		n++
	}
	return n
}

// formatJA4Value says what a row of the table points to.
func formatJA4Value(v uint32) string {
	text := formatHead(v & 0xffff)
	if family := v >> bpf.ValueFamily & 0xff; family != 0 {
		text += fmt.Sprintf(", family %d", family)
	}
	if kind := v >> bpf.ValueKind; kind != 0 {
		text += fmt.Sprintf(", client %d", kind)
	}
	return text
}

func compareJA4s(a, b bpf.JA4Key) int {
	return cmp.Or(cmp.Compare(a.Form, b.Form), bytes.Compare(a.A[:], b.A[:]), bytes.Compare(a.B[:], b.B[:]),
		bytes.Compare(a.C[:], b.C[:]))
}

// ja4Key leaves open parts zero, and their bits out of the form. The hashes of a signature.JA4 are hexadecimal.
func ja4Key(f config.JA4Feature) bpf.JA4Key {
	var key bpf.JA4Key
	if f.Stable {
		key.Form |= uint8(bpf.JA4FormStable)
	}
	if f.Match.A != "" {
		key.Form |= uint8(bpf.JA4FormA)
		copy(key.A[:], f.Match.A)
	}
	if f.Match.B != "" {
		key.Form |= uint8(bpf.JA4FormB)
		_, _ = hex.Decode(key.B[:], []byte(f.Match.B))
	}
	if f.Match.C != "" {
		key.Form |= uint8(bpf.JA4FormC)
		_, _ = hex.Decode(key.C[:], []byte(f.Match.C))
	}
	return key
}

// formatJA4Key is the way back.
func formatJA4Key(key bpf.JA4Key) string {
	f := config.JA4Feature{Stable: key.Form&uint8(bpf.JA4FormStable) != 0}
	if key.Form&uint8(bpf.JA4FormA) != 0 {
		f.Match.A = string(key.A[:])
	}
	if key.Form&uint8(bpf.JA4FormB) != 0 {
		f.Match.B = hex.EncodeToString(key.B[:])
	}
	if key.Form&uint8(bpf.JA4FormC) != 0 {
		f.Match.C = hex.EncodeToString(key.C[:])
	}
	return f.String()
}

// FormatJA4 returns the JA4 of a ClientHello as it is printed: t13d1516h2_8daaf6152771_02713d6af862.
func FormatJA4(f bpf.TLSFingerprint) string {
	return fmt.Sprintf("%s_%x_%x", f.A[:], f.B, f.C)
}

// FormatStableJA4 returns the stable JA4: the same without the extensions that come and go with resumption and padding.
func FormatStableJA4(f bpf.TLSFingerprint) string {
	if f.StableCount == [2]uint8{} { // nothing was left out
		return FormatJA4(f)
	}
	copy(f.A[6:8], f.StableCount[:])
	f.C = f.StableC
	return FormatJA4(f)
}

// ParseJA4 reads what FormatJA4 wrote. The stable JA4 of the result is not known, and equal to the JA4.
func ParseJA4(s string) (bpf.TLSFingerprint, error) {
	j, err := signature.ParseJA4(s)
	if err == nil && (j.A == "" || j.B == "" || j.C == "") {
		err = fmt.Errorf("a part is open")
	}
	if err != nil {
		return bpf.TLSFingerprint{}, fmt.Errorf("read the JA4 %q: %w", s, err)
	}
	key := ja4Key(config.JA4Feature{Match: j})
	f := bpf.TLSFingerprint{A: key.A, B: key.B, C: key.C, StableC: key.C}
	copy(f.StableCount[:], f.A[6:8])
	return f, nil
}
