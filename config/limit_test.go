// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// policyOf is a bundle whose line 9 holds the default policy, its fields from column 20 on, and whose line 11 that of
// the service web, from column 11 on.
func policyOf(fields, web string) string {
	text := rulesAB + "  prefixes: [{list: x, rule: a, entries: [198.51.100.0/24]}, {list: y, rule: b, entries: [198.51.100.0/24]}]\n" +
		"policy:\n  default: {drop: never" + fields + "}\n"
	if web != "" {
		text += "  services:\n    web: {" + web + "}\n"
	}
	return text
}

// limitedHost has a service of each sort.
func limitedHost() *Host {
	h := testHost()
	h.Services = append(h.Services,
		Service{Name: "quic", Addresses: []Address{{}}, Port: 443, Kind: KindQUIC, Local: true},
		Service{Name: "far", Addresses: []Address{{}}, Port: 444, Kind: KindTLS})
	return h
}

const perMinute = "rate: {connections: 30/m}"

// Each row is the policy of web and all its faults, with words that the first must have.
func TestLimitFaults(t *testing.T) {
	for _, c := range []struct {
		name, web string
		want      []string
		says      string
	}{
		{"tag and limit", "drop: 80, tag: 60, limit: 60, " + perMinute, []string{"range bundle.yaml:11:26"},
			"tag begins at 60 and limit at 60: a higher score would get a weaker verdict"},
		{"limit and reset", "drop: 80, reset: 40, limit: 50, " + perMinute, []string{"range bundle.yaml:11:39"},
			"limit begins at 50 and reset at 40"},
		{"tag and drop", "drop: 30, tag: 60", []string{"range bundle.yaml:11:26"}, "tag begins at 60 and drop at 30"},
		{"thresholds", "drop: 80, tag: 0, limit: 101, " + perMinute,
			[]string{"range bundle.yaml:11:26", "range bundle.yaml:11:36"}, "valid: 1 to 100, or never"},
		{"no rate", "drop: 80, limit: 50", []string{"missing bundle.yaml:11:28"},
			"limit without a rate: nothing says how many pass (value 50); valid: limit: 60, rate: {connections: 30/m}"},
		{"no limit", "drop: 80, " + perMinute, []string{"missing bundle.yaml:11:27"}, "rate without a limit"},
		{"limit never", "drop: 80, limit: never, " + perMinute, []string{"missing bundle.yaml:11:41"},
			"rate without a limit"},
		{"no connections", "drop: 80, limit: 50, rate: {burst: 3}", []string{"missing bundle.yaml:11:38"},
			"the field connections is missing; valid: a number of connections and s, m or h: 1/h to 1000/s, such as 30/m"},
		{"a number", "drop: 80, limit: 50, rate: {connections: 30}", []string{"type bundle.yaml:11:52"},
			"connections does not say in which time (value 30); valid: a number of connections and s, m or h"},
		{"a day", "drop: 80, limit: 50, rate: {connections: 30/d}", []string{"type bundle.yaml:11:52"},
			"has none of the times s, m and h after its /"},
		{"two minutes", "drop: 80, limit: 50, rate: {connections: 1/2m}", []string{"type bundle.yaml:11:52"},
			"has none of the times s, m and h after its /"},
		{"nobody", "drop: 80, limit: 50, rate: {connections: 0/m}", []string{"range bundle.yaml:11:52"}, "admits nobody"},
		{"too many", "drop: 80, limit: 50, rate: {connections: 1001/s}", []string{"range bundle.yaml:11:52"},
			"is more than 1000 in a second"},
		{"far too many", "drop: 80, limit: 50, rate: {connections: 99999999999999999999/h}",
			[]string{"range bundle.yaml:11:52"}, "is more than 1000 in a second"},
		{"a zero before", "drop: 80, limit: 50, rate: {connections: 030/m}", []string{"type bundle.yaml:11:52"},
			"is no number of connections in a time"},
		{"the fields of a rate",
			"drop: 80, limit: 50, rate: {connections: 1/s, burst: 0, by: prefixes, over: tag, shared: 65}",
			[]string{"range bundle.yaml:11:64", "range bundle.yaml:11:71", "range bundle.yaml:11:87",
				"range bundle.yaml:11:100"},
			"valid: 1 to 100000"},
		{"a key that is none", "drop: 80, limit: 50, rate: {connections: 1/s, by: sources}",
			[]string{"range bundle.yaml:11:61"}, "did you mean source?"},
		{"a fingerprint", "drop: 80, limit: 50, rate: {connections: 1/s, by: fingerprint}",
			[]string{"range bundle.yaml:11:61"}, "a fingerprint alone is what millions of visitors of one browser share " +
				`(value "fingerprint"); valid: source+fingerprint`},
		{"a burst of days", "drop: 80, limit: 50, rate: {connections: 1/h, burst: 25}", []string{"range bundle.yaml:11:64"},
			"a burst of 25 at 1/h takes 25h to come back"},
	} {
		_, err := ParseBundle("bundle.yaml", []byte(policyOf("", c.web)), nil, testHost(), testOptions)
		f := mustFaults(t, err)
		if diff := cmp.Diff(c.want, briefs(f.List)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", c.name, diff, err)
		} else if !strings.Contains(f.List[0].String(), c.says) {
			t.Errorf("%s: %q does not say %q", c.name, f.List[0], c.says)
		}
	}
}

// What a file need not say of a rate is filled in.
func TestRateDefaults(t *testing.T) {
	for web, want := range map[string]string{
		"connections: 30/m":           "30/m by source, 30 at once, over it drop; 8 times as much for shared addresses",
		"connections: 1/h, burst: 24": "1/h by source, 24 at once, over it drop; 8 times as much for shared addresses",
		"connections: 3600000/h": "3600000/h by source, 100000 at once, over it drop; " +
			"8 times as much for shared addresses",
		"connections: 5/s, by: prefix":             "5/s by prefix, 5 at once, over it drop",
		"connections: 5/s, over: reset, shared: 1": "5/s by source, 5 at once, over it reset",
	} {
		b := mustBundle(t, policyOf("", "drop: 80, limit: 50, rate: {"+web+"}"), nil)
		if got := b.PolicyFor("web").Rate.String(); got != want {
			t.Errorf("%s is %s, want %s", web, got, want)
		}
		again, err := ParseCanonical(Canonical(b))
		if err != nil || again.PolicyFor("web") != b.PolicyFor("web") {
			t.Errorf("%s comes back as %+v, %v", web, again.PolicyFor("web"), err)
		}
	}
	if got := (Frequency{30, time.Minute}).Interval(); got != 2*time.Second {
		t.Errorf("30 in a minute are one in %s", got)
	}
	if b := mustBundle(t, policyOf("", "drop: 80"), nil); !b.PolicyFor("web").Rate.IsZero() {
		t.Errorf("a policy without a rate has %s", b.PolicyFor("web").Rate)
	}
}

// Where a service cannot have what the default says, a warning tells so; what it says itself is refused.
func TestLimitNeedsAConnection(t *testing.T) {
	parse := func(text string) (*Bundle, error) {
		return ParseBundle("bundle.yaml", []byte(text), nil, limitedHost(), testOptions)
	}
	const over = "limit: 50, rate: {connections: 30/m, over: reset}"
	b, err := parse(policyOf(", "+over, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"limit does not apply to the service quic: it is quic, and nobody can prove whose packets those are; " +
			"connections are charged where a socket confirms them",
		"over the limit connections to the service far are dropped, not reset: its sockets are elsewhere (local: false), " +
			"so a stranger could have other people's connections reset",
	}
	var got []string
	for _, w := range b.Warnings {
		got = append(got, w.Problem)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	_, err = parse(policyOf("", "drop: 80, "+over+"}\n    quic: {drop: 80, "+over+"}\n    far: {drop: 80, "+over))
	if diff := cmp.Diff([]string{"reference bundle.yaml:12:29", "reference bundle.yaml:13:64"},
		briefs(mustFaults(t, err).List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
	}
}

// Reasons that a network makes never reach a limit, and a policy that only tags blocks nobody.
func TestBlocksBeginsWithTheLimit(t *testing.T) {
	p := Policy{Tag: 10, Limit: 50, Drop: 80, Reset: 70}
	if p.Blocks() != 50 || p.Cuts() != 70 || (Policy{Tag: 10}).Blocks() != Never {
		t.Errorf("%+v blocks from %s, always from %s", p, p.Blocks(), p.Cuts())
	}
	text := rulesAB + "  reasons: [{rule: a, reason: fragment}]\npolicy: {default: {drop: 90, limit: 60, " + perMinute + "}}\n"
	_, err := ParseBundle("b", []byte(text), nil, testHost(), testOptions)
	if got := mustFaults(t, err).Error(); !strings.Contains(got, "reasons alone would block (from 60 on)") {
		t.Error(got)
	}
	for policy, want := range map[string]string{
		"":                          "no policy drops anything: this bundle only counts",
		", tag: 40":                 "no policy limits or drops anything: this bundle only counts and tags",
		", limit: 40, " + perMinute: "",
	} {
		b := mustBundle(t, policyOf(policy, ""), nil)
		got := ""
		for _, w := range b.Warnings {
			got += w.Problem
		}
		if got != want {
			t.Errorf("%q: %q, want %q", policy, got, want)
		}
	}
}

// Each row is a strongest verdict, a policy of web, what becomes of the policy, and what a warning says of it.
func TestCappedPolicies(t *testing.T) {
	const limited = "tag: 20, limit: 50, drop: 80, reset: 95, rate: {connections: 1/s, over: reset}, fragments: drop"
	for _, c := range []struct {
		most        MaxVerdict
		web         string
		want, warns string
	}{
		{MaxReset, limited, "20 50 80 95 reset drop", ""},
		{MaxDrop, limited, "20 50 80 never drop drop", "drop: what its policy resets is dropped and what is over its limit is dropped"},
		{MaxDrop, "drop: 80", "never never 80 never  ", ""},
		{MaxDrop, "drop: 95, reset: 80", "never never 80 never  ", "drop: what its policy resets is dropped"},
		{MaxLimit, limited, "20 50 never never drop ", "limit: what its policy drops and resets is limited, " +
			"what is over its limit is dropped and fragments pass"},
		{MaxLimit, "drop: 80", "80 never never never  ", "limit: what its policy drops passes and is tagged, for there is no rate"},
		{MaxLimit, "drop: never, limit: 50, rate: {connections: 1/s}", "never 50 never never drop ", ""},
		{MaxTag, "drop: 80, limit: 50, rate: {connections: 1/s}", "50 never never never  ",
			"tag: what its policy limits and drops passes and is tagged"},
		{MaxTag, "drop: never, tag: 50", "50 never never never  ", ""},
		{MaxPass, "drop: 80, tag: 50", "never never never never  ", "pass: what its policy tags and drops passes"},
		{MaxPass, "drop: never", "never never never never  ", ""},
	} {
		host := testHost()
		host.Services[0].MaxVerdict = c.most
		b, err := ParseBundle("bundle.yaml", []byte(policyOf(", tag: 1", c.web)), nil, host, testOptions)
		if err != nil {
			t.Errorf("%s: %v", c.web, err)
			continue
		}
		p := b.PolicyFor("web").At(host.Services[0])
		got := fmt.Sprintf("%s %s %s %s %s %s", p.Tag, p.Limit, p.Drop, p.Reset, p.Rate.Over, p.Fragments)
		if got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.web, c.most, got, c.want)
		}
		var warns string
		for _, w := range b.Warnings {
			if text, ok := strings.CutPrefix(w.Problem, "the host file caps the service web at "); ok {
				warns += text
			}
		}
		if warns != c.warns {
			t.Errorf("%s at %s warns %q, want %q", c.web, c.most, warns, c.warns)
		}
	}
	quic := Service{Kind: KindQUIC, Local: true}
	if p := (Policy{Limit: 50, Drop: 80, Reset: 90, Rate: Rate{Burst: 1}}).At(quic); p != (Policy{Drop: 80}) {
		t.Errorf("a policy for quic is %+v", p)
	}
}
