// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/config/yaml"
)

// DefaultPolicy is the key of Bundle.Policy that applies to every service without a policy of its own. No service may
// have this name.
const DefaultPolicy = "default"

// Bundle is a validated set of rules, features and policy. Its rows are sorted (rules by id, entries by address), so
// that two bundles which decide the same are equal, whatever the order and the files they were written in.
type Bundle struct {
	Version int
	Name    string
	// Rules by id. Features name them by id; every id that a feature names is here.
	Rules []Rule
	// Prefixes by list, then rule; at most one element for each pair. Longest match within a list, sum over lists.
	Prefixes []PrefixList
	// Features by kind, each kind in an order of its own; each feature occurs once.
	Features
	// Policy by service name, and DefaultPolicy.
	Policy map[string]Policy
	// Permits names bundles that may have negative scores beside this policy.
	Permits []string
	// Intent is nil when the bundle does not say what it will newly block.
	Intent *Intent
	// Digest is the SHA-256 of Canonical: the author's, the same on every host.
	Digest Digest
	// Host is that of the set, where this is a merged one.
	Host Digest

	// What follows tells about the loading and the host. It is no part of the identity, and ParseCanonical leaves it
	// empty.

	// Compiled is the digest of what a host compiles, set by LeaveOut. It is Digest where nothing is left out.
	Compiled Digest
	// OmittedProtected counts third-party rows that this host leaves out because they are equal to or inside a protected
	// or own address. What was loaded still has them; what LeaveOut returns has not.
	OmittedProtected int
	// OmittedReserved counts third-party rows left out because no visitor can have such an address, or only one from a
	// private network.
	OmittedReserved int
	// Lists tells, by name, what became of the rows of each list.
	Lists []ListCounts
	// Carved holds the protected and own prefixes that lie inside a wider entry. The entry is kept; the dataplane looks
	// at the protected last, so they still pass.
	Carved []netip.Prefix
	// Warnings do not refuse the bundle.
	Warnings []yaml.Fault
}

// Rule is what a match means.
type Rule struct {
	// ID of the rule; features name it.
	ID string `yaml:"id" json:"id" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Label of what the rule finds, for metrics, events and intent.
	Label string `yaml:"label" json:"label" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Score that a match adds; negative speaks for a visitor. A rule has a score or a verdict.
	Score int `yaml:"score" json:"score" jsonschema:"oneof_required=score,minimum=-100,maximum=100"`
	// Verdict in place of a score: allow ends the question, whatever the score of other rules; tag adds nothing, and what
	// passes is tagged.
	Verdict RuleVerdict `yaml:"verdict" json:"verdict,omitempty" jsonschema:"oneof_required=verdict,enum=allow,enum=tag"`
	// Expires is when the rule stops to apply, with its offset (RFC 3339); zero is never.
	Expires time.Time `yaml:"expires" json:"expires,omitzero"`
	// Note for people.
	Note string `yaml:"note" json:"note,omitempty" jsonschema:"maxLength=200"`
	// Declared reports that the bundle's intent names the label. It follows from the rest, and stands here because of a
	// set each rule keeps the intent of its own bundle.
	Declared bool `json:"-" jsonschema:"-"`
}

// PrefixList holds the prefixes of one list that point to one rule. The same list may stand in a bundle several times,
// with different rules; no prefix occurs twice in a list.
type PrefixList struct {
	List       string
	Rule       string
	ThirdParty bool
	// Entries are masked, IPv4 before IPv6, by address, then length.
	Entries []netip.Prefix
}

// RuleVerdict is what a rule without a score says.
type RuleVerdict string

// RuleScores is a rule with a score. RuleAllow passes, above every score and below a ban. RuleTag tags what passes.
const (
	RuleScores RuleVerdict = ""
	RuleAllow  RuleVerdict = "allow"
	RuleTag    RuleVerdict = "tag"
)

// Policy turns a score into a verdict: of the highest threshold that it reaches.
type Policy struct {
	// Tag from this score on (1 to 100), or never: the connection passes, and the web server can read its score.
	Tag Threshold `yaml:"tag" json:"tag,omitzero"`
	// Limit from this score on (1 to 100), or never: as many connections as the rate has pass, and are tagged; the others
	// wait, or are reset. Only for tls, http and tcp services.
	Limit Threshold `yaml:"limit" json:"limit,omitzero"`
	// Drop from this score on (1 to 100), or never.
	Drop Threshold `yaml:"drop" json:"drop" jsonschema:"required"`
	// Reset from this score on (1 to 100), or never: the connection is ended at both sides at once. The higher threshold
	// that a score reaches decides between drop and reset. Only for tls, http and tcp services whose sockets are on this
	// host. A reset cannot heal, so a generation that is not stable drops instead.
	Reset Threshold `yaml:"reset" json:"reset,omitzero"`
	// Fragments is what becomes of IP fragments that begin a TCP segment: pass, or drop. A hello in fragments is served,
	// and nobody reads it here. Only for tls and tcp services, and where something is blocked.
	Fragments Fragments `yaml:"fragments" json:"fragments,omitzero" jsonschema:"enum=pass,enum=drop"`
	// Rate is what the limit admits.
	Rate Rate `yaml:"rate" json:"rate,omitzero"`
}

// Fragments is what becomes of the fragments that begin a segment.
type Fragments string

// FragmentsPass is what a policy means that says nothing: a bundle of an older release keeps its digest.
const (
	FragmentsPass Fragments = ""
	FragmentsDrop Fragments = "drop"
)

// Blocks returns the lowest score from which somebody may be blocked, or Never: that of the limit, of drop or of reset.
func (p Policy) Blocks() Threshold { return lowest(p.Limit, p.Cuts()) }

// Cuts returns the lowest score that is always blocked, or Never: that of drop or of reset.
func (p Policy) Cuts() Threshold { return lowest(p.Drop, p.Reset) }

// blocksFrom returns the lowest score from which somebody may be blocked at any service, or Never.
func (b *Bundle) blocksFrom() Threshold {
	from := Never
	for _, p := range b.Policy {
		from = lowest(from, p.Blocks())
	}
	return from
}

// PolicyFor returns the policy of a service: its own, or the default, or never.
func (b *Bundle) PolicyFor(service string) Policy {
	if p, ok := b.Policy[service]; ok {
		return p
	}
	return b.Policy[DefaultPolicy]
}

// PrefixCount returns the number of IPv4 and IPv6 rows over all lists.
func (b *Bundle) PrefixCount() (v4, v6 int) {
	for _, l := range b.Prefixes {
		for _, p := range l.Entries {
			if p.Addr().Is4() {
				v4++
			} else {
				v6++
			}
		}
	}
	return v4, v6
}
