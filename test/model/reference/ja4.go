// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// IsGREASE reports whether v is one of the 16 values of RFC 8701: both bytes equal, and ?A.
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// JA4 returns the fingerprint a_b_c.
func (h *Hello) JA4() string { return h.ja4(nil).hashed() }

// JA4Raw returns JA4_r: a, and in clear the lists that b and c are hashes of.
func (h *Hello) JA4Raw() string { return h.ja4(nil).raw() }

// unstable are the extensions that come and go with resumption, retries and padding.
var unstable = []uint16{ExtPadding, ExtSessionTicket, ExtPreSharedKey, ExtEarlyData, ExtCookie}

// StableJA4 is JA4 as if padding, session_ticket, pre_shared_key, early_data and cookie had not been sent: neither
// listed nor counted. It is Spillway's own, not a part of the specification.
func (h *Hello) StableJA4() string { return h.ja4(unstable).hashed() }

// StableJA4Raw is to StableJA4 what JA4Raw is to JA4.
func (h *Hello) StableJA4Raw() string { return h.ja4(unstable).raw() }

// ja4 has the parts of a fingerprint before any hash.
type ja4 struct{ a, b, c string }

func (h *Hello) ja4(without []uint16) ja4 {
	ciphers := withoutGREASE(h.Ciphers)
	var extensions []uint16
	for _, e := range h.Extensions {
		if !IsGREASE(e.Type) && !slices.Contains(without, e.Type) {
			extensions = append(extensions, e.Type)
		}
	}
	sni := "i"
	if slices.Contains(extensions, ExtServerName) {
		sni = "d"
	}
	a := fmt.Sprintf("t%s%s%02d%02d%s", h.versionName(), sni,
		min(len(ciphers), 99), min(len(extensions), 99), protocolName(h.Protocol))

	hashed := slices.DeleteFunc(extensions, func(v uint16) bool { return v == ExtServerName || v == ExtALPN })
	c := list(slices.Sorted(slices.Values(hashed)))
	if algorithms := list(withoutGREASE(h.Algorithms)); algorithms != "" {
		c += "_" + algorithms
	}
	return ja4{a: a, b: list(slices.Sorted(slices.Values(ciphers))), c: c}
}

func (p ja4) raw() string    { return p.a + "_" + p.b + "_" + p.c }
func (p ja4) hashed() string { return p.a + "_" + hash12(p.b) + "_" + hash12(p.c) }

// hash12 returns the first 12 hex digits of the hash, and zeros for nothing.
func hash12(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:12]
}

// list writes values as the specification does: four lower-case hex digits each, joined by commas.
func list(values []uint16) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf("%04x", v))
	}
	return strings.Join(all, ",")
}

func withoutGREASE(values []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(values), IsGREASE)
}

// versionName names the highest supported version as a number, whatever it means: a draft is unknown.
func (h *Hello) versionName() string {
	version := h.Version
	if versions := withoutGREASE(h.Versions); len(versions) > 0 {
		version = slices.Max(versions)
	}
	names := map[uint16]string{
		0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
		0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3",
	}
	if name, known := names[version]; known {
		return name
	}
	return "00"
}

// protocolName returns the first and last character of a protocol, or of its hex digits when one of the two is not
// alphanumeric.
func protocolName(p []byte) string {
	if len(p) == 0 {
		return "00"
	}
	first, last := p[0], p[len(p)-1]
	if alphanumeric(first) && alphanumeric(last) {
		return string([]byte{first, last})
	}
	digits := hex.EncodeToString(p)
	return digits[:1] + digits[len(digits)-1:]
}

func alphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
}
