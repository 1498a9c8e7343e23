// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config/signature"
)

// Each row is a change of one bundle and whether it can only let more pass.
func TestRelaxes(t *testing.T) {
	const bundle = `version: 1
name: t
rules: [{id: a, label: a, score: 60}, {id: b, label: b, score: -30}, {id: c, label: c, score: 10, expires: 2027-01-01T00:00:00Z}]
features:
  prefixes: [{list: l, rule: a, entries: [198.51.0.0/16]}, {list: l, rule: b, entries: [198.51.100.0/24]}]
  tcp: [{rule: a, muonfp: "1024:2:1460:"}]
  ja4: [{rule: a, match: t13d1516h2_*_*}, {rule: b, match: t13d1516h2_8daaf6152771_*}]
  p0f: [{rule: a, signature: "4:64:0:*:*,*:mss::0"}, {rule: c, signature: "*:64:0:*:*,*:mss::0"}]
  reasons: [{rule: c, reason: fragment}]
policy: {default: {drop: 80, reset: 95}}
`
	for _, c := range []struct {
		name, from, to string
		want           bool
	}{
		{"nothing", "", "", true},
		{"a note", "label: a, score: 60", "label: a, score: 60, note: x", true},
		{"a label", "label: a, score: 60", "label: z, score: 60", true},
		{"lower score", "score: 60", "score: 50", true},
		{"higher score", "score: 60", "score: 61", false},
		{"higher negative score", "score: -30", "score: -29", false},
		{"ends earlier", "expires: 2027", "expires: 2026", true},
		{"ends later", "expires: 2027", "expires: 2028", false},
		{"never ends", ", expires: 2027-01-01T00:00:00Z", "", false},
		{"a negative rule ends", "score: -30", "score: -30, expires: 2027-01-01T00:00:00Z", false},
		{"less now and more later", "score: 10, expires: 2027", "score: 9, expires: 2028", false},
		{"threshold up", "drop: 80", "drop: 81", true},
		{"threshold down", "drop: 80", "drop: 79", false},
		{"never", "drop: 80, reset: 95", "drop: never", true},
		{"a reset where none was", "drop: 80, reset: 95", "drop: 80, reset: 94", false},
		{"fragments dropped", "drop: 80, reset: 95", "drop: 80, reset: 95, fragments: drop", false},
		{"fragments pass, in words", "drop: 80, reset: 95", "drop: 80, reset: 95, fragments: pass", true},
		{"a service for itself, looser", "policy: {", "policy: {services: {web: {drop: 90}}, ", true},
		{"a service for itself, stricter", "policy: {", "policy: {services: {web: {drop: 70}}, ", false},
		{"a prefix more", "198.51.0.0/16", "198.51.0.0/16, 203.0.113.0/24", false},
		{"a prefix less", "198.51.0.0/16", "203.0.113.0/24", false},
		{"a longer one against, inside", "198.51.0.0/16", "198.51.0.0/16, 198.51.7.0/24", true},
		{"a shorter one", "198.51.0.0/16", "198.51.0.0/17", true},
		{"an exception less", ", {list: l, rule: b, entries: [198.51.100.0/24]}", "", false},
		{"an exception more", "[198.51.100.0/24]", "[198.51.100.0/24, 198.51.101.0/24]", true},
		{"fingerprint gone", "  tcp: [{rule: a, muonfp: \"1024:2:1460:\"}]\n", "", true},
		{"another fingerprint", "1024:2", "1025:2", false},
		{"ja4 gone, the broadest", "{rule: a, match: t13d1516h2_*_*}, ", "", true},
		{"ja4 exception gone", ", {rule: b, match: t13d1516h2_8daaf6152771_*}", "", false},
		{"ja4 exception more", "{rule: b, match: t13d1516h2_8daaf6152771_*}",
			"{rule: b, match: t13d1516h2_8daaf6152771_*}, {rule: b, match: t13d1516h2_8daaf6152772_*}", true},
		{"ja4 against more", "{rule: a, match: t13d1516h2_*_*}",
			"{rule: a, match: t13d1516h2_*_*}, {rule: a, match: t13d1517h2_*_*}", false},
		{"signature gone, the strongest", `{rule: a, signature: "4:64:0:*:*,*:mss::0"}, `, "", true},
		{"signature gone, in front of a stronger one", "score: 60}, {id: b", "score: 5}, {id: b", true},
		{"signatures in another order",
			`{rule: a, signature: "4:64:0:*:*,*:mss::0"}, {rule: c, signature: "*:64:0:*:*,*:mss::0"}`,
			`{rule: c, signature: "*:64:0:*:*,*:mss::0"}, {rule: a, signature: "4:64:0:*:*,*:mss::0"}`, false},
		{"allowed", "label: a, score: 60", "label: a, verdict: allow", true},
		{"tagged", "label: a, score: 60", "label: a, verdict: tag", true},
		{"tagged instead of spoken for", "score: -30", "verdict: tag", false},
		{"allowed instead of spoken for", "score: -30", "verdict: allow", true},
		{"allowed for a while", "score: -30", "verdict: allow, expires: 2027-01-01T00:00:00Z", false},
		{"a pair more", "policy:", "  pairs: [{rule: a, tcp: raw, tls: go}]\npolicy:", false},
		{"a pair that is spoken for", "policy:", "  pairs: [{rule: b, tcp: raw, tls: go}]\npolicy:", true},
		{"a tag", "drop: 80", "tag: 7, drop: 80", true},
		{"a limit where nothing was", "drop: 80", "limit: 79, rate: {connections: 1/s}, drop: 80", false},
		{"a limit where it dropped", "drop: 80", "limit: 80, rate: {connections: 1/s}, drop: 90", false},
		{"a limit where it dropped, over: reset", "drop: 80", "limit: 80, rate: {connections: 1/s, over: reset}, drop: 90",
			false},
		{"a limit where it reset, over: reset", "drop: 80, reset: 95",
			"limit: 95, rate: {connections: 1/s, over: reset}, drop: never", false},
		{"reason gone", "  reasons: [{rule: c, reason: fragment}]\n", "", true},
		{"reason more", "{rule: c, reason: fragment}", "{rule: c, reason: fragment}, {rule: c, reason: midstream}", false},
	} {
		if !strings.Contains(bundle, c.from) {
			t.Fatalf("%s: %q is not in the bundle", c.name, c.from)
		}
		old, new := setOf(t, bundle), setOf(t, strings.Replace(bundle, c.from, c.to, 1))
		if got := Relaxes(old, new, testNow); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRelaxesOfSets(t *testing.T) {
	both, edge, feed := setOf(t, edgeBundle, feedOfSet), setOf(t, edgeBundle), setOf(t, feedOfSet)
	for _, c := range []struct {
		name     string
		old, new *Set
		want     bool
	}{
		{"a list less",
			both.Without("feed").
				With(
					mustBundle(t,
						"version: 1\nname: x\nrules: [{id: a, label: a, score: 9}]\nfeatures: {tcp: [{rule: a, muonfp: '7:::'}]}\n",
						nil)), edge, true},
		{"a list more", edge, both, false},
		{"no policy any more", both, feed, true},
		{"nothing any more", both, NewSet(), true},
		{"the first", nil, edge, false},
		{"the first, without a policy", nil, feed, true},
	} {
		if got := Relaxes(c.old, c.new, testNow); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// connection is what a made-up visitor shows.
type connection struct {
	addr     netip.Addr
	tcp, ja4 string
	families []string // of its SYN: a SYN may be of several
	tls      string
	service  string
}

// scoreOf is the oracle: what BUNDLE.md says, connection by connection.
func scoreOf(b *Bundle, c connection, at time.Time) (score int, allowed bool) {
	rules, sum := rulesByID(b), 0
	add := func(id string) {
		if r := rules[id]; r.Expires.IsZero() || r.Expires.After(at) {
			sum += r.Score
			allowed = allowed || r.Verdict == RuleAllow
		}
	}
	best, rule := map[string]netip.Prefix{}, map[string]string{}
	for _, l := range b.Prefixes {
		for _, p := range l.Entries {
			if old, ok := best[l.List]; p.Contains(c.addr) && (!ok || p.Bits() > old.Bits()) {
				best[l.List], rule[l.List] = p, l.Rule
			}
		}
	}
	for _, id := range rule {
		add(id)
	}
	for _, f := range b.TCP {
		if f.Fingerprint.String() == c.tcp {
			add(f.Rule)
		}
	}
	seen, _ := signature.ParseJA4(c.ja4)
	for _, w := range seen.Wider() {
		found := false
		for _, f := range b.JA4 {
			if f.Match == w {
				add(f.Rule)
				found = true
			}
		}
		if found {
			break
		}
	}
	for _, f := range b.Pairs {
		if slices.Contains(c.families, f.TCP) && f.TLS == c.tls {
			add(f.Rule)
		}
	}
	return min(max(sum, 0), 100), allowed
}

// Whenever Relaxes says yes, no connection is judged more strictly, now or later.
func TestRelaxesIsSound(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	yes := 0
	for round := range 1500 {
		old := randomSet(t, rng)
		new := mutate(t, rng, old)
		if !Relaxes(old, new, testNow) {
			continue
		}
		if old.Digest != new.Digest {
			yes++
		}
		was, is := old.merge(), new.merge()
		for range 40 {
			c := connection{addr: randomVisitor(rng), tcp: fmt.Sprintf("%d:::", rng.IntN(3)), ja4: randomJA4(rng, false),
				families: TCPFamilies()[:rng.IntN(3)], tls: TLSFamilies()[rng.IntN(2)],
				service: []string{"web", "other"}[rng.IntN(2)]}
			for _, at := range []time.Time{testNow, testNow.Add(36 * time.Hour), testNow.Add(96 * time.Hour)} {
				before, after := judged(was, c, at), judged(is, c, at)
				if after.harm > before.harm || after.harm == limited && before.harm == limited &&
					isStricter(after.rate, before.rate) {
					t.Fatalf("round %d: %+v gets %+v, and got %+v\n%s\n%s", round, c, after, before, Canonical(was), Canonical(is))
				}
			}
		}
	}
	if yes < 50 {
		t.Errorf("only %d of 1500 changes relax: this test can tell little", yes)
	}
}

func randomVisitor(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(rng.IntN(2)), byte(rng.IntN(16))})
}

func randomJA4(rng *rand.Rand, open bool) string {
	parts := []string{fmt.Sprintf("t13d151%dh2", rng.IntN(2)), fmt.Sprintf("8daaf615277%d", rng.IntN(2)),
		fmt.Sprintf("02713d6af86%d", rng.IntN(2))}
	for i := range parts {
		if open && rng.IntN(2) == 0 && strings.Count(strings.Join(parts, "_"), "*") < 2 {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "_")
}

func randomSet(t *testing.T, rng *rand.Rand) *Set {
	s := NewSet()
	for i := range 1 + rng.IntN(3) {
		s = s.With(randomBundle(t, rng, fmt.Sprintf("b%d", i), i == 0))
	}
	return s
}

// mutate changes a score, a threshold, an end, or a whole bundle.
func mutate(t *testing.T, rng *rand.Rand, s *Set) *Set {
	i := rng.IntN(len(s.Bundles))
	b := *s.Bundles[i]
	switch rng.IntN(4) {
	case 0:
		return s.With(randomBundle(t, rng, b.Name, b.HasPolicy()))
	case 1:
		if !b.HasPolicy() {
			return s.Without(b.Name)
		}
		b.Policy = map[string]Policy{DefaultPolicy: randomPolicy(rng)}
	case 2:
		b.Rules = append([]Rule(nil), b.Rules...)
		if r := &b.Rules[rng.IntN(len(b.Rules))]; r.Verdict == RuleScores {
			r.Score -= rng.IntN(30) - 5
		} else {
			r.Verdict = []RuleVerdict{RuleAllow, RuleTag}[rng.IntN(2)]
		}
	default:
		if len(b.JA4) > 0 {
			at := rng.IntN(len(b.JA4))
			b.JA4 = append(append([]JA4Feature(nil), b.JA4[:at]...), b.JA4[at+1:]...)
		}
		if len(b.Prefixes) > 0 {
			b.Prefixes = b.Prefixes[:len(b.Prefixes)-1]
		}
	}
	b.Digest = digestOf(&b)
	return s.With(&b)
}

func randomBundle(t *testing.T, rng *rand.Rand, name string, policy bool) *Bundle {
	t.Helper()
	var rules, lists, tcp, ja4, pairs []string
	seen := map[string]bool{}
	once := func(key string) bool { known := seen[key]; seen[key] = true; return !known }
	for i := range 4 {
		end := ""
		if rng.IntN(4) == 0 {
			end = ", expires: " + testNow.Add(time.Duration(1+rng.IntN(3))*24*time.Hour).Format(time.RFC3339)
		}
		says := fmt.Sprintf("score: %d", rng.IntN(120)-40)
		if n := rng.IntN(10); n < 2 {
			says = []string{"verdict: allow", "verdict: tag"}[n]
		}
		rules = append(rules, fmt.Sprintf("{id: r%d, label: l, %s%s}", i, says, end))
		if pair := fmt.Sprintf("tcp: %s, tls: %s", TCPFamilies()[rng.IntN(3)], TLSFamilies()[rng.IntN(2)]); once(pair) {
			pairs = append(pairs, fmt.Sprintf("{rule: r%d, %s}", i, pair))
		}
		var entries []string
		for range 1 + rng.IntN(3) {
			p := netip.PrefixFrom(randomVisitor(rng), 24+rng.IntN(9)).Masked()
			if list := i % 2; once(fmt.Sprint(list, p)) {
				entries = append(entries, p.String())
			}
		}
		if len(entries) > 0 {
			lists = append(lists, fmt.Sprintf("{list: l%d, rule: r%d, entries: [%s]}", i%2, i, strings.Join(entries, ", ")))
		}
		if fp := fmt.Sprintf("%d:::", rng.IntN(3)); once(fp) {
			tcp = append(tcp, fmt.Sprintf("{rule: r%d, muonfp: '%s'}", i, fp))
		}
		if match := randomJA4(rng, true); once(match) {
			ja4 = append(ja4, fmt.Sprintf("{rule: r%d, match: '%s'}", i, match))
		}
	}
	text := fmt.Sprintf("version: 1\nname: %s\nrules: [%s]\nfeatures:\n  tcp: [%s]\n  ja4: [%s]\n  pairs: [%s]\n", name,
		strings.Join(rules, ", "), strings.Join(tcp, ", "), strings.Join(ja4, ", "), strings.Join(pairs, ", "))
	if len(lists) > 0 {
		text += "  prefixes: [" + strings.Join(lists, ", ") + "]\n"
	}
	if policy {
		p := randomPolicy(rng)
		text += fmt.Sprintf("policy: {default: {drop: %s, limit: %s", p.Drop, p.Limit)
		if r := p.Rate; p.Limit != Never {
			text += fmt.Sprintf(", rate: {connections: %s, burst: %d, by: %s, over: %s, shared: %d}", r.Connections, r.Burst,
				r.By, r.Over, r.Shared)
		}
		text += "}}\n"
	}
	return mustBundle(t, text, nil)
}
