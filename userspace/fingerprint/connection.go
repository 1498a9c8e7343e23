// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"net/netip"
	"time"
)

// Connection is what is known of one TCP connection of a capture. Fields that nothing is known of are empty.
type Connection struct {
	Frame  int            `json:"frame"` // of its first packet, from 1
	Time   time.Time      `json:"time"`
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`

	JA4       string `json:"ja4,omitempty"`
	JA4Raw    string `json:"ja4Raw,omitempty"` // JA4_r, the lists that JA4 is made of
	StableJA4 string `json:"stableJa4,omitempty"`
	JA3       string `json:"ja3,omitempty"`
	JA3Text   string `json:"ja3Text,omitempty"`
	MuonFP    string `json:"muonfp,omitempty"`
	P0F       string `json:"p0f,omitempty"` // as p0f v3 prints raw_sig

	// By says who computed JA4, stable JA4, MuonFP and P0F: ByKernel or ByGo.
	By string `json:"by,omitempty"`
	// Reason says why there is no JA4, "" when there is one; Why says the same to people.
	Reason string `json:"reason,omitempty"`
	Why    string `json:"why,omitempty"`
	// Notes say what else is odd about it.
	Notes []string `json:"notes,omitempty"`
	// Clients and Stacks of the catalogue that are known to look like this.
	Clients []Known `json:"clients,omitempty"`
	Stacks  []Known `json:"stacks,omitempty"`
}

// Who computed a fingerprint.
const (
	ByKernel = "kernel" // the dataplane's programs
	ByGo     = "go"     // this package
)

// Known is an entry of the catalogue.
type Known struct {
	Name     string `json:"name"`
	Versions string `json:"versions"`
	Family   string `json:"family"`
	Kind     string `json:"kind,omitempty"` // of a client: browser, tool, library, crawler, imitation
	// Match says what was compared: ja4, stable_ja4, or tcp.
	Match string `json:"match"`
}

// The reasons of Connection. Where the dataplane has the same reason, the name is the same.
const (
	reasonNoData    = "no_data"
	reasonNotHello  = "not_hello"
	reasonPartial   = "hello_partial"
	reasonTooLong   = "hello_too_long"
	reasonMalformed = "hello_malformed"
	reasonMidstream = "midstream"
	reasonCutShort  = "cut_short"
	reasonGap       = "gap"
	reasonCrowded   = "crowded"
	reasonFragment  = "fragment"
	reasonUrgent    = "hello_urgent"
)

var whys = map[string]string{
	reasonNoData:    "the client sent no data",
	reasonNotHello:  "the client sent no ClientHello",
	reasonPartial:   "the rest of the ClientHello is not in the capture",
	reasonTooLong:   errTooLong.Error(),
	reasonMalformed: errMalformed.Error(),
	reasonFragment:  "its data came in IP fragments, which neither the dataplane nor this program puts together",
	reasonUrgent:    errUrgent.Error(),
	reasonMidstream: "its beginning is not in the capture",
	reasonCutShort:  "its packets are cut short in the capture (snaplen)",
	reasonGap:       "a segment of its beginning is not in the capture",
	reasonCrowded:   "too many connections wait for their beginning; it waited longest",
}
