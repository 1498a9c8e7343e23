// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
)

// ReasonFeature points from a reason of the dataplane to a rule.
type ReasonFeature struct {
	// Rule that applies.
	Rule string `yaml:"rule" json:"rule" jsonschema:"required"`
	// Reason that the dataplane gives, by its name: fragment, malformed and too_deep (headers that cannot be read);
	// syn_options (a SYN whose options cannot be read); midstream and unconfirmed (data whose start nobody saw, or that no
	// socket vouches for); not_hello (the first data to a tls service is no ClientHello); hello_order, hello_overlap,
	// hello_too_long, hello_malformed, hello_urgent and hello_busy (a ClientHello whose segments came out of order, or
	// twice and different; that exceeds a limit; that contradicts itself; that has urgent data; that was one new shape too
	// many in its second); hello_hidden (the server read bytes of the beginning that never came by here) and hello_unseen
	// (the same, where a network or this host may be the cause).
	Reason string `yaml:"reason" json:"reason" jsonschema:"required,enum=fragment,enum=hello_busy,enum=hello_hidden,enum=hello_malformed,enum=hello_order,enum=hello_overlap,enum=hello_too_long,enum=hello_unseen,enum=hello_urgent,enum=malformed,enum=midstream,enum=not_hello,enum=syn_options,enum=too_deep,enum=unconfirmed"`
}

var reasonKind = family[ReasonFeature]{
	key: "reasons", what: PlanReason, one: "reason", this: "the reason", text: "reason",
	in:      func(f *Features) *[]ReasonFeature { return &f.Reasons },
	rule:    func(f *ReasonFeature) *string { return &f.Rule },
	name:    func(f ReasonFeature) string { return f.Reason },
	compare: func(a, b ReasonFeature) int { return strings.Compare(a.Reason, b.Reason) },
}

// PlanReason is the kind of a reason in a Diff.
const PlanReason = "reason"

// ScoreableReasons returns the closed set of reasons that a rule may score, in alphabetical order.
func ScoreableReasons() []string {
	return []string{"fragment", "hello_busy", "hello_hidden", "hello_malformed", "hello_order", "hello_overlap",
		"hello_too_long",
		"hello_unseen", "hello_urgent", "malformed", "midstream", "not_hello", "syn_options", "too_deep", "unconfirmed"}
}

// StrongReason reports whether a rule may block by the reason alone, once it is proven whose connection it is: only a
// client makes it, neither a network nor this host.
func StrongReason(name string) bool {
	return slices.Contains([]string{"hello_hidden", "hello_malformed", "hello_overlap"}, name)
}

// Accepts reports whether a rule may block by the reason alone on this host: a strong one, or one that the host file
// accepts.
func (h *Host) Accepts(reason string) bool {
	return StrongReason(reason) || slices.Contains(h.AcceptReasons, reason)
}
