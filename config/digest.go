// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the identity of a bundle: the SHA-256 of its canonical form.
type Digest [32]byte

const digestPrefix = "sha256:"

// String returns "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// Short returns the first 12 hexadecimal digits, for people.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// IsZero reports whether the digest names no bundle.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText returns what String returns.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String returns.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDigest reads what String returns; nothing else.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(d) || strings.ToLower(s) != s {
		return d, fmt.Errorf("parse digest %q: want sha256: and 64 lower-case hexadecimal digits", s)
	}
	copy(d[:], raw)
	return d, nil
}
