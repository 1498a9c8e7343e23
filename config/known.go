// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config/signature"
)

// KnownClients are protected beside the allowlist, each for a reason that a refusal can name.
type KnownClients struct {
	// Golden clients must never be blocked: before any visitor meets a bundle, each is tried with it.
	Golden []GoldenClient `yaml:"golden" jsonschema:"maxItems=64"`
	// HealthChecks are sources that ask whether the site is up.
	HealthChecks []KnownSource `yaml:"health_checks" jsonschema:"maxItems=64"`
	// Crawlers are verified: their operators publish where they come from.
	Crawlers []KnownSource `yaml:"crawlers" jsonschema:"maxItems=64"`
}

// GoldenClient is a client that no bundle may block, as it looks on the wire. It has at least one of address, tcp, p0f,
// ja4 and client.
type GoldenClient struct {
	// Name of the golden client, for refusals.
	Name string `yaml:"name" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Service that it visits.
	Service string `yaml:"service" jsonschema:"required"`
	// Address or prefix that it comes from; it is then protected in the kernel, too. Without it: from anywhere.
	Address netip.Prefix `yaml:"address"`
	// TCP is the MuonFP of its SYN.
	TCP signature.MuonFP `yaml:"tcp"`
	// P0F is the p0f signature of its SYN.
	P0F signature.P0F `yaml:"p0f"`
	// JA4 of its ClientHello, without open parts.
	JA4 signature.JA4 `yaml:"ja4"`
	// Client is the name of a client in the catalogue: each of its ClientHellos.
	Client string `yaml:"client" jsonschema:"maxLength=63"`
}

// HasTCP reports whether the file gave its MuonFP.
func (g GoldenClient) HasTCP() bool { return g.TCP.Kinds != nil || g.TCP.Window != 0 }

// HasP0F reports whether the file gave its p0f signature.
func (g GoldenClient) HasP0F() bool { return g.P0F.String() != (signature.P0F{}).String() }

// HasJA4 reports whether the file gave its JA4.
func (g GoldenClient) HasJA4() bool { return g.JA4 != signature.JA4{} }

// HasLooks reports whether anything is known of it beside where it comes from.
func (g GoldenClient) HasLooks() bool {
	return g.HasTCP() || g.HasP0F() || g.HasJA4() || g.Client != ""
}

// KnownSource is somebody who comes from some prefixes.
type KnownSource struct {
	// Name of who it is, for refusals.
	Name string `yaml:"name" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Prefixes that it comes from: addresses and prefixes.
	Prefixes []netip.Prefix `yaml:"prefixes" jsonschema:"required,minItems=1,maxItems=4096"`
}

// Class is why a source is protected. Its number is the value in the kernel's table of protected sources.
type Class uint32

// The classes of the host file. Whom a web server vouches for is protected elsewhere, and for a while.
const (
	ClassAllowlist Class = 1 + iota
	ClassGolden
	ClassHealthCheck
	ClassCrawler
)

// String returns the class for a sentence.
func (c Class) String() string {
	switch c {
	case ClassAllowlist:
		return "allowlist"
	case ClassGolden:
		return "golden client"
	case ClassHealthCheck:
		return "health check"
	case ClassCrawler:
		return "crawler"
	}
	return "none"
}

// ProtectedSource is one prefix that nothing may block, and why.
type ProtectedSource struct {
	Prefix netip.Prefix
	Class  Class
	Name   string // of a golden client, a health check or a crawler; of the allowlist the note
	Path   string // where it stands in the host file
}

// Sources returns all prefixes of the host file that nothing may block: the allowlist first, in the order of the file.
// Several golden clients may have one address, and it may be on the allowlist: the first that names it counts.
func (h *Host) Sources() []ProtectedSource {
	var out []ProtectedSource
	for i, a := range h.Allowlist {
		out = append(out, ProtectedSource{a.Prefix, ClassAllowlist, a.Note, fmt.Sprintf("allowlist[%d]", i)})
	}
	for i, g := range h.Golden {
		named := func(s ProtectedSource) bool { return s.Prefix == g.Address }
		if g.Address.IsValid() && !slices.ContainsFunc(out, named) {
			out = append(out, ProtectedSource{g.Address, ClassGolden, g.Name, fmt.Sprintf("golden[%d].address", i)})
		}
	}
	known := func(class Class, field string, all []KnownSource) {
		for i, k := range all {
			for j, p := range k.Prefixes {
				out = append(out, ProtectedSource{p, class, k.Name, fmt.Sprintf("%s[%d].prefixes[%d]", field, i, j)})
			}
		}
	}
	known(ClassHealthCheck, "health_checks", h.HealthChecks)
	known(ClassCrawler, "crawlers", h.Crawlers)
	return out
}

// String says who it is and where that is written: the allowlist's 192.0.2.0/28 (office).
func (s ProtectedSource) String() string {
	if s.Class != ClassAllowlist {
		return fmt.Sprintf("the %s %s, %s", s.Class, s.Name, s.Prefix)
	}
	text := "the allowlist's " + s.Prefix.String()
	if s.Name != "" {
		text += " (" + s.Name + ")"
	}
	return text
}
