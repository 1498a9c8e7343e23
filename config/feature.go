// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	"github.com/spillway/spillway/config/signature"
)

// JA4Feature points from a JA4, or from the stable JA4, to a rule. Of the features that match one ClientHello the most
// specific one counts: three parts before two before one, and exact before stable.
type JA4Feature struct {
	Rule  string
	Match signature.JA4
	// Stable compares with the stable JA4: the same, but as if the extensions 0015, 0023, 0029, 002a and 002c were not
	// there, which come and go with padding and resumption.
	Stable bool
}

// String returns the match, and says when it is the stable JA4's.
func (f JA4Feature) String() string {
	if f.Stable {
		return "stable " + f.Match.String()
	}
	return f.Match.String()
}

func compareJA4(a, b JA4Feature) int {
	if a.Stable != b.Stable {
		if b.Stable {
			return -1
		}
		return 1
	}
	return strings.Compare(a.Match.String(), b.Match.String())
}

// P0FFeature points from a p0f signature to a rule. Of the signatures that fit one SYN the first in the file counts.
type P0FFeature struct {
	Rule      string
	Signature signature.P0F
}
