// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/oracle"
)

// Moments are far away: what decides is whether they have passed, not when.
var (
	past   = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	future = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)
	always = time.Date(2201, 1, 1, 0, 0, 0, 0, time.UTC) // a heartbeat that is never old
)

var scores = []int{100, 100, 80, 80, 60, 50, 30, 1, 0, -20, -100}

func servicePool() []config.Service {
	at := func(a ...string) []config.Address {
		var all []config.Address
		for _, ip := range a {
			all = append(all, config.Address{IP: netip.MustParseAddr(ip)})
		}
		return all
	}
	anywhere := []config.Address{{}}
	return []config.Service{
		{Name: "web", Addresses: anywhere, Port: 443, Kind: config.KindTCP, Local: true},
		{Name: "plain", Addresses: at("192.0.2.1", "2001:db8::1"), Port: 80, Kind: config.KindHTTP, Local: true},
		{Name: "behind", Addresses: at("192.0.2.2", "2001:db8::2"), Port: 443, Kind: config.KindHTTP},
		{Name: "far", Addresses: anywhere, Port: 8443, Kind: config.KindTCP},
		{Name: "dns", Addresses: anywhere, Port: 53, Kind: config.KindUDP, Local: true},
		{Name: "quic", Addresses: at("192.0.2.2", "2001:db8::1"), Port: 443, Kind: config.KindQUIC},
	}
}

// randomServices leaves some out, mostly not those that most frames are for.
func randomServices(r *rand.Rand) []config.Service {
	pool := slices.DeleteFunc(servicePool(), func(s config.Service) bool {
		if s.Name == "web" || s.Name == "behind" {
			return one(r, 10)
		}
		return one(r, 3)
	})
	if len(pool) == 0 {
		return servicePool()
	}
	for i := range pool {
		pool[i].MaxVerdict = randomCap(r)
	}
	r.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	return pool
}

func randomPrefix(r *rand.Rand) netip.Prefix {
	a := pick(r, sources4)
	if one(r, 2) {
		a = pick(r, sources6)
	}
	bits := pick(r, []int{8, 16, 23, 24, 25, 31, 32})
	if a.Is6() {
		bits = pick(r, []int{24, 32, 47, 48, 49, 64, 127, 128})
	}
	p, _ := a.Prefix(bits)
	return p
}

func randomBundle(r *rand.Rand) *config.Bundle {
	b := &config.Bundle{Version: 1, Name: "random", Policy: map[string]config.Policy{}}
	for i := range b.Digest {
		b.Digest[i] = byte(r.IntN(256))
	}
	for i := range 1 + r.IntN(6) {
		rule := config.Rule{ID: fmt.Sprintf("r%d", i), Label: pick(r, []string{"l", "m"}), Score: pick(r, scores)}
		if one(r, 2) {
			rule.Expires = future
		}
		if one(r, 8) {
			rule.Expires = past
		}
		if one(r, 5) {
			rule.Score, rule.Verdict = 0, pick(r, []config.RuleVerdict{config.RuleAllow, config.RuleTag, config.RuleTag})
		}
		b.Rules = append(b.Rules, rule)
	}
	if one(r, 2) {
		b.Intent = &config.Intent{By: []string{"m"}}
	}
	randomFeatures(r, b)
	for _, name := range []string{config.DefaultPolicy, "web", "behind", "dns"} {
		if name == config.DefaultPolicy || one(r, 3) {
			b.Policy[name] = randomPolicy(r)
		}
	}
	return b
}

func randomFeatures(r *rand.Rand, b *config.Bundle) {
	rule := func() string { return pick(r, b.Rules).ID }
	for l := range r.IntN(4) {
		known := map[netip.Prefix]bool{} // a prefix occurs once in a list
		for range 1 + r.IntN(2) {
			list := config.PrefixList{List: fmt.Sprintf("list%d", l), Rule: rule()}
			for range r.IntN(6) {
				if p := randomPrefix(r); !known[p] {
					known[p] = true
					list.Entries = append(list.Entries, p)
				}
			}
			b.Prefixes = append(b.Prefixes, list)
		}
	}
	for _, s := range fingerprints {
		if fp, err := signature.ParseMuonFP(s); err == nil && one(r, 2) {
			b.TCP = append(b.TCP, config.TCPFeature{Rule: rule(), Fingerprint: fp})
		}
	}
	for _, reason := range config.ScoreableReasons() {
		if one(r, 2) {
			b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: rule(), Reason: reason})
		}
	}
}

func randomGeneration(r *rand.Rand, services []config.Service) *oracle.Generation {
	g := &oracle.Generation{Bundle: randomBundle(r), Current: one(r, 2)}
	for _, s := range services {
		if !one(r, 12) {
			g.Services = append(g.Services, s.Name)
		}
	}
	return g
}

// randomWorld returns a world of which everything is new.
func randomWorld(r *rand.Rand) oracle.World {
	w := oracle.World{Services: randomServices(r), AgentTimeout: time.Second, SynKey: [2]uint64{r.Uint64(), r.Uint64()},
		Clock: pick(r, clocks)}
	if one(r, 10) {
		w.AgentTimeout = 0
	}
	for range r.IntN(3) {
		if p := randomPrefix(r); !slices.Contains(w.Allowlist, p) {
			w.Allowlist = append(w.Allowlist, p)
		}
	}
	for _, reason := range []string{"hello_too_long", "hello_urgent", "not_hello"} {
		if one(r, 2) {
			w.AcceptReasons = append(w.AcceptReasons, reason)
		}
	}
	if one(r, 4) {
		w.Before = randomBefore(r, &w)
	}
	randomGenerations(r, &w)
	randomWords(r, &w)
	return w
}

// randomBefore is a host file of which something stayed: services with other addresses or of another kind, and other
// prefixes on the allowlist.
func randomBefore(r *rand.Rand, w *oracle.World) *oracle.Before {
	before := &oracle.Before{}
	for _, s := range w.Services {
		switch r.IntN(6) {
		case 0: // it is new
			continue
		case 1:
			s.Port++
		case 2:
			s.Addresses = []config.Address{{IP: netip.MustParseAddr(pick(r, []string{"192.0.2.1", "192.0.2.2", "2001:db8::2"}))}}
		case 3:
			s.Addresses = []config.Address{{}}
		case 4:
			s.Local = !s.Local
		}
		if one(r, 2) {
			s.MaxVerdict = randomCap(r)
		}
		before.Services = append(before.Services, s)
	}
	for _, p := range w.Allowlist {
		if !one(r, 3) {
			before.Allowlist = append(before.Allowlist, p)
		}
	}
	for range r.IntN(3) {
		if p := randomPrefix(r); !slices.Contains(before.Allowlist, p) {
			before.Allowlist = append(before.Allowlist, p)
		}
	}
	for _, reason := range w.AcceptReasons {
		if one(r, 2) {
			before.AcceptReasons = append(before.AcceptReasons, reason)
		}
	}
	return before
}

func randomGenerations(r *rand.Rand, w *oracle.World) {
	w.Stable, w.Candidate, w.Canary = nil, nil, 0
	if !one(r, 12) {
		w.Stable = randomGeneration(r, w.Services)
	}
	if one(r, 2) {
		w.Candidate = randomGeneration(r, w.Services)
		w.Canary = pick(r, []int{0, 1, 500, 999, 1000, 1000, 1000})
	}
	if w.Previous = nil; w.Stable != nil && one(r, 2) {
		w.Previous = randomGeneration(r, w.Services)
	}
	w.Pair, w.Budget = one(r, 2), one(r, 2)
}

// randomWords changes what needs no new map.
func randomWords(r *rand.Rand, w *oracle.World) {
	w.Mode = config.ModeEnforce
	if one(r, 4) {
		w.Mode = config.ModeObserve
	}
	w.Bypass = one(r, 60)
	w.BypassServices = nil
	if one(r, 8) {
		w.BypassServices = []string{pick(r, w.Services).Name}
	}
	w.Heartbeat, w.Lease, w.Tripped = always, future, one(r, 4)
	w.Spent = one(r, 4)
	if one(r, 8) {
		w.Heartbeat = past
	}
	if one(r, 4) {
		w.Lease = past
	}
	w.Bans = randomBans(r)
	w.Vouched = randomVouched(r)
}

func randomVouched(r *rand.Rand) []oracle.Vouch {
	var vouched []oracle.Vouch
	for range r.IntN(4) {
		v := oracle.Vouch{Source: pick(r, append(append([]netip.Addr(nil), sources4...), sources6...)), Expires: future}
		if one(r, 3) {
			v.Expires = past
		}
		vouched = append(vouched, v)
	}
	return vouched
}

func randomBans(r *rand.Rand) []oracle.Ban {
	var bans []oracle.Ban
	if one(r, 2) {
		return nil
	}
	for range r.IntN(5) {
		b := oracle.Ban{Prefix: randomPrefix(r), Expires: future}
		if one(r, 3) {
			b.Expires = past
		}
		if !slices.ContainsFunc(bans, func(other oracle.Ban) bool { return other.Prefix == b.Prefix }) {
			bans = append(bans, b)
		}
	}
	return bans
}
