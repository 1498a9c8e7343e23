// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// isGREASE tells the values of RFC 8701: both bytes equal, and ?A.
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

func withoutGREASE(values []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(values), isGREASE)
}

// fleeting extensions come and go with padding, resumption and a server's cookie; the stable JA4 leaves them out.
var fleeting = []uint16{0x0015, 0x0023, 0x0029, 0x002a, 0x002c}

var versionNames = map[uint16]string{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
	0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3"}

// ja4 returns JA4 and JA4_r (FoxIO technical_details/JA4.md).
func (h *hello) ja4() (hashed, raw string) { return h.ja4Of(withoutGREASE(h.extensions)) }

// stableJA4 is the JA4 without the extensions that come and go.
func (h *hello) stableJA4() string {
	hashed, _ := h.ja4Of(
		slices.DeleteFunc(withoutGREASE(h.extensions), func(e uint16) bool { return slices.Contains(fleeting, e) }))
	return hashed
}

func (h *hello) ja4Of(extensions []uint16) (hashed, raw string) {
	ciphers := withoutGREASE(h.ciphers)
	sni := "i"
	if slices.Contains(h.extensions, extServerName) {
		sni = "d"
	}
	head := fmt.Sprintf("t%s%s%02d%02d%s", h.versionName(), sni, min(len(ciphers), 99),
		min(len(extensions), 99), h.protocolName())
	listed := slices.DeleteFunc(slices.Clone(extensions),
		func(e uint16) bool { return e == extServerName || e == extALPN })
	slices.Sort(ciphers)
	slices.Sort(listed)
	b, c := hexList(ciphers), hexList(listed)
	algorithms := hexList(withoutGREASE(h.algorithms))
	raw = head + "_" + b + "_" + c
	hashedC := c
	if algorithms != "" {
		raw += "_" + algorithms
		if c != "" {
			hashedC += "_" + algorithms
		}
	}
	return head + "_" + shortHash(b) + "_" + shortHash(hashedC), raw
}

// versionName is of the highest version that the client supports, never of the record.
func (h *hello) versionName() string {
	version := h.version
	if supported := withoutGREASE(h.versions); len(supported) > 0 {
		version = slices.Max(supported)
	}
	if name, known := versionNames[version]; known {
		return name
	}
	return "00"
}

// protocolName is the first and last character of the first ALPN value where both are ASCII letters or digits, else the
// first and last hexadecimal digit of all of it.
func (h *hello) protocolName() string {
	if len(h.protocol) == 0 {
		return "00"
	}
	first, last := h.protocol[0], h.protocol[len(h.protocol)-1]
	if isAlphanumeric(first) && isAlphanumeric(last) {
		return string([]byte{first, last})
	}
	return fmt.Sprintf("%x%x", first>>4, last&15)
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func hexList(values []uint16) string {
	var b []byte
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return string(b)
}

// shortHash is the first 12 digits of the SHA-256; of nothing, zeros.
func shortHash(list string) string {
	if list == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:6])
}

// ja3 returns the text, version,ciphers,extensions,groups,point formats in decimal, and its MD5 (salesforce/ja3).
func (h *hello) ja3() (hash, text string) {
	formats := make([]uint16, len(h.formats))
	for i, f := range h.formats {
		formats[i] = uint16(f)
	}
	text = strings.Join([]string{strconv.Itoa(int(h.version)), decimalList(withoutGREASE(h.ciphers)),
		decimalList(withoutGREASE(h.extensions)),
		decimalList(withoutGREASE(h.groups)), decimalList(formats)}, ",")
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:]), text
}

func decimalList(values []uint16) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.Itoa(int(v))
	}
	return strings.Join(texts, "-")
}
