// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/oracle"
)

// column is one kind of rule that the packets meet.
type column struct {
	name, meaning string
	world         oracle.World
	unseen        bool // asserted, but not on the page: it says the same as another
	denies        bool // a ban or a prefix: every packet of the source to a service is dropped
	never         bool // nothing is dropped here
}

const drop = 80

var (
	denied4, denied6 = netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:a::/48")
	future           = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)
)

func baseWorld(edit func(*oracle.World, *config.Bundle)) oracle.World {
	b := &config.Bundle{
		Version: 1, Name: "matrix", Digest: config.Digest{1},
		Rules:  []config.Rule{{ID: "bad", Label: "bad", Score: 100}},
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: drop}},
	}
	w := oracle.World{
		Mode: config.ModeEnforce, AgentTimeout: time.Second, Heartbeat: future, SynKey: [2]uint64{1, 2},
		Services: []config.Service{
			{Name: "web", Addresses: []config.Address{{}}, Port: webPort, Kind: config.KindHTTP, Local: true},
			{Name: "dns", Addresses: []config.Address{{}}, Port: dnsPort, Kind: config.KindUDP, Local: true},
		},
		Stable: &oracle.Generation{Bundle: b, Services: []string{"web", "dns"}},
	}
	if edit != nil {
		edit(&w, b)
	}
	return w
}

func denyPrefix(_ *oracle.World, b *config.Bundle) { addPrefixes(b, denied4, denied6) }

func addPrefixes(b *config.Bundle, prefixes ...netip.Prefix) {
	b.Prefixes = append(b.Prefixes, config.PrefixList{List: "own", Rule: "bad", Entries: prefixes})
}

func denyFingerprint(_ *oracle.World, b *config.Bundle) { addFingerprint(b, fingerprint) }

func addFingerprint(b *config.Bundle, s string) {
	fp, err := signature.ParseMuonFP(s)
	if err != nil {
		panic(err)
	}
	b.TCP = append(b.TCP, config.TCPFeature{Rule: "bad", Fingerprint: fp})
}

// denyOthers fills every feature map with what none of the packets has.
func denyOthers(_ *oracle.World, b *config.Bundle) {
	addPrefixes(b, netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:b::/48"))
	addFingerprint(b, "1024:2:1460:")
}

func banned(w *oracle.World, b *config.Bundle) {
	denyOthers(w, b)
	w.Bans = []oracle.Ban{{Prefix: denied4, Expires: future}, {Prefix: denied6, Expires: future}}
}

func protectedSource(w *oracle.World, b *config.Bundle) {
	banned(w, b)
	denyPrefix(w, b)
	b.Prefixes[1].List = "second"
	denyFingerprint(w, b)
	w.Allowlist = []netip.Prefix{denied4, denied6}
}

// odd scores every reason as high as can be, and drops from the lowest score on.
func odd(_ *oracle.World, b *config.Bundle) {
	for _, reason := range config.ScoreableReasons() {
		b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: "bad", Reason: reason})
	}
	b.Policy[config.DefaultPolicy] = config.Policy{Drop: 1}
}

// cutFragments has no rule for anybody, and drops what begins a segment in fragments.
func cutFragments(w *oracle.World, b *config.Bundle) {
	denyOthers(w, b)
	w.Services[0].Kind = config.KindTCP
	b.Policy[config.DefaultPolicy] = config.Policy{Drop: drop, Fragments: config.FragmentsDrop}
}

func empty(_ *oracle.World, b *config.Bundle) { b.Rules = nil }

func observed(w *oracle.World, b *config.Bundle) {
	denyPrefix(w, b)
	denyFingerprint(w, b)
	w.Mode = config.ModeObserve
}

func columns() []column {
	return []column{
		{name: "known prefix", meaning: "a rule of score 100 for the source's network",
			world: baseWorld(denyPrefix), denies: true},
		{name: "known fingerprint", meaning: "a rule of score 100 for the SYN's fingerprint, " + fingerprint,
			world: baseWorld(denyFingerprint)},
		{name: "neither", meaning: "rules for other networks and fingerprints", world: baseWorld(denyOthers), never: true},
		{name: "ban", meaning: "the source's network is banned, and no rule knows it",
			world: baseWorld(banned), denies: true},
		{name: "protected", meaning: "prefix, fingerprint and ban together, and the source is on the allowlist",
			world: baseWorld(protectedSource), never: true},
		{name: "odd scores 100",
			meaning: "every reason that can be scored has score 100, and the policy drops from score 1 on",
			world:   baseWorld(odd), never: true},
		{name: "fragments: drop", meaning: "as *neither*, for a tcp service whose policy says `fragments: drop`",
			world: baseWorld(cutFragments)},
		{name: "empty bundle", world: baseWorld(empty), unseen: true, never: true},
		{name: "observe", world: baseWorld(observed), unseen: true, never: true},
	}
}
