// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
)

// What of a connection met an entry of the catalogue.
const (
	MatchJA4    = "ja4"
	MatchStable = "stable_ja4"
	MatchTCP    = "tcp"
)

// Clients returns who is known to send a ClientHello: by its JA4, and only if nobody is, by its stable JA4.
func Clients(c *catalogue.Catalogue, ja4, stable string) []Known {
	match, found := MatchJA4, []catalogue.KnownClient(nil)
	if ja4 != "" {
		found = c.ByJA4(ja4)
	}
	if len(found) == 0 && stable != "" {
		match, found = MatchStable, c.ByStableJA4(stable)
	}
	var all []Known
	for _, k := range found {
		all = append(all, Known{k.Name, k.Versions, k.Family, k.Kind, match})
	}
	return all
}

// Stacks returns which systems are known to send a SYN of this MuonFP string and p0f signature; both may be empty.
func Stacks(c *catalogue.Catalogue, muonfp, p0f string) []Known {
	if muonfp == "" {
		return nil
	}
	fp, err := signature.ParseMuonFP(muonfp)
	if err != nil {
		return nil
	}
	var seen *signature.P0F
	if s, err := signature.ParseP0F(p0f); err == nil {
		seen = &s
	}
	var all []Known
	for _, k := range c.ByTCP(fp, seen) {
		all = append(all, Known{Name: k.Name, Versions: k.Versions, Family: k.Family, Match: MatchTCP})
	}
	return all
}
