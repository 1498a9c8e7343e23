// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	"github.com/spillway/spillway/config/signature"
)

// TCPFeature points from a TCP fingerprint to a rule.
type TCPFeature struct {
	// Rule of this fingerprint, by its id.
	Rule string `yaml:"rule" json:"rule" jsonschema:"required"`
	// Fingerprint is window:kinds:mss:scale of the SYN.
	Fingerprint signature.MuonFP `yaml:"muonfp" json:"muonfp" jsonschema:"required"`
}

var tcpKind = family[TCPFeature]{
	key: "tcp", what: "tcp", one: "TCP fingerprint", this: "the fingerprint", text: "muonfp", room: "tcp_fingerprints",
	in:   func(f *Features) *[]TCPFeature { return &f.TCP },
	rule: func(f *TCPFeature) *string { return &f.Rule },
	name: func(f TCPFeature) string { return f.Fingerprint.String() },
	compare: func(a, b TCPFeature) int {
		return strings.Compare(a.Fingerprint.String(), b.Fingerprint.String())
	},
}
