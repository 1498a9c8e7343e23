// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	// 6 lines
	rulesAB = "version: 1\nname: t\nrules:\n  - {id: a, label: la, score: 60}\n  - {id: b, label: lb, score: 50}\nfeatures:\n"
	own     = "  prefixes:\n    - {list: own, rule: a, entries: [198.51.100.0/24]}\n"
)

// entriesOf is a bundle whose line 8 holds the entries, from column 45.
func entriesOf(entries string) string {
	return rulesAB + "  prefixes:\n    - {list: own, rule: a,        entries: [" + entries + "]}\n"
}

// Each row is a bundle and all of its faults: code, file, line and column.
func TestBundleFaults(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"blank bundle.yaml:1:1"}},
		{"version", "version: 7\nname: t\n", []string{"version bundle.yaml:1:10"}},
		{"huge version", "version: 99999999999999999999\nname: t\n", []string{"range bundle.yaml:1:10"}},
		{"no name", "version: 1\n", []string{"missing bundle.yaml:1:1"}},
		{"name", "version: 1\nname: 'no good'\n", []string{"syntax bundle.yaml:2:7"}},
		{"misspelt sections", "version: 1\nname: t\nrule: []\nfeature: {}\npolicies: {}\n",
			[]string{"unknown_field bundle.yaml:3:1", "unknown_field bundle.yaml:4:1", "unknown_field bundle.yaml:5:1"}},
		{"rule ids", "version: 1\nname: t\nrules:\n- {id: A, label: x, score: 1}\n- {id: a, label: x, score: 1}\n- {id: a, label: x, score: 1}\n",
			[]string{"syntax bundle.yaml:4:8", "duplicate bundle.yaml:6:8"}},
		{"scores", "version: 1\nname: t\nrules:\n- {id: a, label: x, score: 101}\n" +
			"- {id: b, label: x, score: -101}\n- {id: c, label: x, score: 1.5}\n" +
			"- {id: d, label: x, score: .nan}\n- {id: e, label: x}\n- {id: f, label: x, score: }\n",
			[]string{"range bundle.yaml:4:28", "range bundle.yaml:5:28", "type bundle.yaml:6:28", "type bundle.yaml:7:28",
				"missing bundle.yaml:8:3", "null bundle.yaml:9:27"}},
		{"times", "version: 1\nname: t\nrules:\n" +
			"- {id: a, label: x, score: 1, expires: 2027-01-01}\n" +
			"- {id: b, label: x, score: 1, expires: '2027-01-01T00:00:00'}\n" +
			"- {id: c, label: x, score: 1, expires: tomorrow}\n" +
			"- {id: d, label: x, score: 1, expires: 2027-13-01T00:00:00Z}\n" +
			"- {id: e, label: x, score: 1, expires: 0001-01-01T00:00:00Z}\n" +
			"- {id: f, label: x, score: 1, expires: 1800000000}\n",
			[]string{"time bundle.yaml:4:40", "time bundle.yaml:5:40", "time bundle.yaml:6:40", "time bundle.yaml:7:40",
				"range bundle.yaml:8:40", "time bundle.yaml:9:40"}},
		{"rule that drops", "version: 1\nname: t\nrules:\n- {id: a, label: x, score: 1, verdict: drop}\n",
			[]string{"range bundle.yaml:4:40"}},
		{"rules with two things to say, and none", "version: 1\nname: t\nrules:\n" +
			"- {id: a, label: x, score: 1, verdict: allow}\n- {id: b, label: x}\n- {id: c, label: x, verdict: }\n" +
			"- {id: d, label: x, score: x}\n- x\n",
			[]string{"duplicate bundle.yaml:4:40", "missing bundle.yaml:5:3", "null bundle.yaml:6:29",
				"type bundle.yaml:7:28", "type bundle.yaml:8:3"}},
		{"null rules", "version: 1\nname: t\nrules:\n", []string{"null bundle.yaml:3:7"}},
		{"blank note", "version: 1\nname: t\nrules:\n- {id: a, label: x, score: 1, note: ''}\n",
			[]string{"blank bundle.yaml:4:37"}},

		{"no rule has that id",
			rulesAB + "  prefixes:\n    - {list: own, rule: c, entries: [198.51.100.0/24]}\n  tcp:\n" +
				"    - {rule: d, muonfp: '1:::'}\n  reasons:\n    - {rule: e, reason: fragment}\n",
			[]string{"reference bundle.yaml:8:25", "reference bundle.yaml:10:14", "reference bundle.yaml:12:14"}},
		{"no address",
			entriesOf(
				"x, 198.51.100.0/33, 198.51.100.256, '', 2001:db8::/129, 198.51.100.0/024, 'fe80::1%eth0', '198.51.100.0/24 '"),
			[]string{"syntax bundle.yaml:8:45", "syntax bundle.yaml:8:48", "syntax bundle.yaml:8:65", "blank bundle.yaml:8:81",
				"type bundle.yaml:8:85", "syntax bundle.yaml:8:101", "syntax bundle.yaml:8:119", "syntax bundle.yaml:8:135"}},
		{"entries of other types", entriesOf("7, true, null, [a], 1.5"),
			[]string{"type bundle.yaml:8:45", "type bundle.yaml:8:48", "null bundle.yaml:8:54", "type bundle.yaml:8:60",
				"type bundle.yaml:8:65"}},
		{"prefix floors", entriesOf("198.0.0.0/9, 0.0.0.0/0, '2001:d00::/23', '::/0', 10.0.0.0/8"),
			[]string{"floor bundle.yaml:8:45", "floor bundle.yaml:8:58", "floor bundle.yaml:8:69", "floor bundle.yaml:8:86",
				"floor bundle.yaml:8:94"}},
		{"reserved",
			entriesOf(
				"0.1.2.3, 127.0.0.1, 169.254.0.0/16, 224.0.0.1, 255.255.255.255, '::', '::1', 'fe80::/64', 'ff02::1', '4000::/32'"),
			[]string{"reserved bundle.yaml:8:45", "reserved bundle.yaml:8:54", "reserved bundle.yaml:8:65",
				"reserved bundle.yaml:8:81", "reserved bundle.yaml:8:92", "reserved bundle.yaml:8:109",
				"reserved bundle.yaml:8:115", "reserved bundle.yaml:8:122", "reserved bundle.yaml:8:135",
				"reserved bundle.yaml:8:146"}},
		{"protected", entriesOf("192.0.2.0/28, 192.0.2.9, '2001:db8:a::1', 198.18.0.1, '::ffff:192.0.2.3'"),
			[]string{"protected bundle.yaml:8:45", "protected bundle.yaml:8:59", "protected bundle.yaml:8:70",
				"protected bundle.yaml:8:87", "protected bundle.yaml:8:99"}},
		{"duplicates", entriesOf("198.51.100.0/24, 198.51.100.7/24, '::ffff:198.51.100.0/120'"),
			[]string{"duplicate bundle.yaml:8:62", "duplicate bundle.yaml:8:79"}},
		{"duplicate in a list with two rules", rulesAB + own + "    - {list: own, rule: b, entries: [198.51.100.0/24]}\n",
			[]string{"duplicate bundle.yaml:9:38"}},
		{"entries empty", entriesOf(""), []string{"blank bundle.yaml:8:44"}},
		{"entries is a text", rulesAB + "  prefixes:\n    - {list: own, rule: a, entries: 198.51.100.0/24}\n",
			[]string{"type bundle.yaml:8:37"}},
		{"neither entries nor file", rulesAB + "  prefixes:\n    - {list: own, rule: a}\n",
			[]string{"missing bundle.yaml:8:7"}},
		{"one list, two origins",
			rulesAB + own + "    - {list: own, rule: b, third_party: true, entries: [203.0.113.0/24]}\n",
			[]string{"type bundle.yaml:9:7"}},
		{"files outside",
			rulesAB + "  prefixes:\n    - {list: x, rule: a, file: ../x}\n" +
				"    - {list: y, rule: a, file: /etc/passwd}\n    - {list: z, rule: a, file: .}\n" +
				"    - {list: v, rule: a, file: 'a\\b'}\n",
			[]string{"file bundle.yaml:8:32", "file bundle.yaml:9:32", "file bundle.yaml:10:32", "file bundle.yaml:11:32"}},
		{"file missing, and a folder",
			rulesAB + "  prefixes:\n    - {list: x, rule: a, file: no.netset}\n    - {list: y, rule: a, file: lists}\n",
			[]string{"file bundle.yaml:8:32", "file bundle.yaml:9:32"}},
		{"third_party", rulesAB + "  prefixes:\n    - {list: own, rule: a, third_party: 1, entries: [198.51.100.0/24]}\n",
			[]string{"type bundle.yaml:8:41"}},

		{"fingerprints",
			rulesAB + "  tcp:\n    - {rule: a, muonfp: '1024:2:1460'}\n    - {rule: a, muonfp: '70000:::'}\n" +
				"    - {rule: a, muonfp: '1:2::'}\n    - {rule: a, muonfp: '1:0-1::'}\n" +
				"    - {rule: a, muonfp: '01:::'}\n    - {rule: a, muonfp: '1:256::'}\n    - {rule: a}\n",
			[]string{"syntax bundle.yaml:8:25", "syntax bundle.yaml:9:25", "syntax bundle.yaml:10:25",
				"syntax bundle.yaml:11:25", "syntax bundle.yaml:12:25", "syntax bundle.yaml:13:25", "missing bundle.yaml:14:7"}},
		{"fingerprint twice",
			rulesAB + "  tcp:\n    - {rule: a, muonfp: '1024:2:1460:'}\n    - {rule: b, muonfp: '1024:2:1460:'}\n",
			[]string{"duplicate bundle.yaml:9:25"}},
		{"reasons",
			rulesAB +
				"  reasons:\n    - {rule: a, reason: bad}\n    - {rule: a, reason: fragment}\n    - {rule: b, reason: fragment}\n",
			[]string{"range bundle.yaml:8:25", "duplicate bundle.yaml:10:25"}},

		{"thresholds", rulesAB + own + "policy:\n  default: {drop: 0}\n  services:\n    web: {drop: 101}\n",
			[]string{"range bundle.yaml:10:19", "range bundle.yaml:12:17"}},
		{"threshold is a text", rulesAB + own + "policy: {default: {drop: always}}\n", []string{"type bundle.yaml:9:26"}},
		{"threshold as a text", rulesAB + own + "policy: {default: {drop: '80'}}\n", []string{"type bundle.yaml:9:26"}},
		{"policy without drop", rulesAB + own + "policy: {default: {}}\n", []string{"missing bundle.yaml:9:19"}},
		{"resets",
			rulesAB + own + "policy:\n  default: {drop: 80, reset: 80}\n  services:\n    web: {drop: never, reset: 101}\n",
			[]string{"range bundle.yaml:10:30", "range bundle.yaml:12:31"}},
		{"fragments",
			rulesAB + own +
				"policy:\n  default: {drop: never, fragments: drop}\n  services:\n    web: {drop: 80, fragments: some}\n",
			[]string{"range bundle.yaml:10:37", "range bundle.yaml:12:32"}},
		{"reasons reach reset",
			rulesAB + "  reasons:\n    - {rule: a, reason: not_hello}\npolicy: {default: {drop: 90, reset: 60}}\n",
			[]string{"range bundle.yaml:8:5"}},
		{"no such service", rulesAB + own + "policy:\n  services:\n    wbe: {drop: 80}\n    default: {drop: 80}\n",
			[]string{"reference bundle.yaml:11:5", "reserved bundle.yaml:12:5"}},
		{"service twice", rulesAB + own + "policy:\n  services:\n    web: {drop: 80}\n    web: {drop: 90}\n",
			[]string{"duplicate bundle.yaml:12:5"}},
		{"reasons reach drop",
			rulesAB + "  reasons:\n    - {rule: a, reason: fragment}\n    - {rule: b, reason: midstream}\npolicy: {default: {drop: 100}}\n",
			[]string{"range bundle.yaml:8:5"}},

		{"intent", rulesAB + own + "intent:\n  expects: {new_blocks: 101%, by: [lc]}\n",
			[]string{"range bundle.yaml:10:25", "reference bundle.yaml:10:36"}},
		{"intent without sign", rulesAB + own + "intent:\n  expects: {new_blocks: 6, by: [la, la]}\n",
			[]string{"type bundle.yaml:10:25", "duplicate bundle.yaml:10:37"}},
		{"intent by nobody", rulesAB + own + "intent:\n  expects: {new_blocks: 6%, by: []}\n",
			[]string{"range bundle.yaml:10:33"}},
		{"intent without expects", rulesAB + own + "intent: {}\n", []string{"missing bundle.yaml:9:9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := ParseBundle("bundle.yaml", []byte(c.text), files("lists/feed.netset", ""), testHost(), testOptions)
			if b != nil {
				t.Fatalf("a refused file gave a bundle; want faults %v", c.want)
			}
			if diff := cmp.Diff(c.want, briefs(mustFaults(t, err).List)); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

// What is printed is what a person reads at three in the morning.
func TestFaultsArePrintedWithExcerpt(t *testing.T) {
	_, err := ParseBundle("bundle.yaml", []byte(strings.Replace(minimalBundle, "score: 100", "scroe: 100", 1)), nil,
		testHost(), testOptions)
	want := `bundle.yaml:4:5: the field score is missing, or verdict in its place; valid: score: -100 to 100, or verdict: allow or tag
    4 |   - {id: bad, label: bad, scroe: 100}
      |     ^
bundle.yaml:4:27: unknown field "scroe"; did you mean score?; valid: id, label, score, verdict, expires or note
    4 |   - {id: bad, label: bad, scroe: 100}
      |                           ^`
	if diff := cmp.Diff(want, mustFaults(t, err).Error()); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestFaultsHideControlCharacters(t *testing.T) {
	_, err := ParseBundle("bundle.yaml", []byte("version: 1\nname: \"\\e[31mred\"\nx\u202ey: 1\n"), nil, nil, testOptions)
	if text := err.Error(); strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("the message can act on a terminal: %q", text)
	}
}

func TestWarnings(t *testing.T) {
	b := mustBundle(t, `version: 1
name: t
rules:
  - {id: a, label: la, score: 60, expires: 2026-01-01T00:00:00+01:00}
  - {id: b, label: lb, score: 50}
features:
  prefixes:
    - {list: own, rule: a, entries: [198.51.100.7/24]}
    - {list: feed, rule: a, third_party: true, file: feed}
`, files("feed", "198.51.100.9/24\n"))
	want := []string{"unused bundle.yaml:1:1", "expired bundle.yaml:4:44", "unused bundle.yaml:5:10",
		"masked bundle.yaml:8:38"}
	if diff := cmp.Diff(want, briefs(b.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// A reset that a service cannot have is refused for what is so of that service.
func TestWhyNotReset(t *testing.T) {
	for want, s := range map[string]Service{
		"it is quic, and only TCP has resets":             {Kind: KindQUIC, Local: true},
		"its sockets are elsewhere (local: false)":        {Kind: KindTLS},
		"its connections end elsewhere (confirm: egress)": {Kind: KindTLS, Local: true, Confirm: ConfirmEgress},
	} {
		if got := whyNotReset(s); s.Resettable() || !strings.Contains(got, want) {
			t.Errorf("%+v: %q, want %q in it", s, got, want)
		}
	}
}
