// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const sinceBase = `version: 1
interfaces: [{name: eth0}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: api, port: 8443, kind: tls, addresses: [192.0.2.1, 192.0.2.2]}
allowlist: [{prefix: 203.0.113.0/28, note: office}, "2001:db8:1::/48"]
accept_reasons: [not_hello]
`

func hostOf(t *testing.T, edits ...string) *Host {
	t.Helper()
	text := sinceBase
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("%q is not in the host file", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	h, err := ParseHost("host", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What a host file inspects outlives its text: it is read again from JSON as it was.
func TestInspectionIsReadAgain(t *testing.T) {
	h := hostOf(t)
	text, err := json.Marshal(h.Inspection())
	if err != nil {
		t.Fatal(err)
	}
	var again Inspection
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, h.Inspection()) || !reflect.DeepEqual(again.Host().Inspection(), again) {
		t.Errorf("%+v is read as %+v", h.Inspection(), again)
	}
	for a, b := range map[*Host]*Host{h: again.Host(), again.Host(): h} {
		if n := len(a.NewInterfaces(b)) + len(a.NewServices(b)) + len(a.Unprotected(b)) + len(a.NewReasons(b)); n > 0 {
			t.Errorf("%d differences between a host file and what it inspects", n)
		}
	}
}

func TestWhatAHostFileNewlyInspects(t *testing.T) {
	base := hostOf(t)
	for _, row := range []struct {
		name                                     string
		next                                     *Host
		interfaces, services, unprotected, allow int
	}{
		{name: "nothing", next: hostOf(t)},
		{"an interface", hostOf(t, "[{name: eth0}]", "[{name: eth1}]"), 1, 0, 0, 0},
		{"an address", hostOf(t, "192.0.2.1, ", "192.0.2.1, 192.0.2.3, "), 0, 1, 0, 0},
		{"an address less", hostOf(t, "192.0.2.1, ", ""), 0, 0, 0, 0},
		{"any address", hostOf(t, ", addresses: [192.0.2.1, 192.0.2.2]", ""), 0, 1, 0, 0},
		{"one of any", hostOf(t, "port: 443, kind: tls", "port: 443, kind: tls, addresses: [192.0.2.7]"), 0, 0, 0, 0},
		{"another kind", hostOf(t, "443, kind: tls", "443, kind: http"), 0, 1, 0, 0},
		{"a weaker verdict", hostOf(t, "443, kind: tls", "443, kind: tls, max_verdict: tag"), 0, 0, 0, 0},
		{"another name", hostOf(t, "name: web", "name: shop"), 0, 1, 0, 0},
		{"a line less", hostOf(t, `, "2001:db8:1::/48"`, ""), 0, 0, 1, 0},
		{"a wider line", hostOf(t, "203.0.113.0/28", "203.0.113.0/24"), 0, 0, 0, 0},
		{"a narrower line", hostOf(t, "203.0.113.0/28", "203.0.113.0/29"), 0, 0, 1, 0},
		{"a golden client instead", hostOf(t, `, "2001:db8:1::/48"]`,
			"]\ngolden: [{name: shop, service: web, address: \"2001:db8::/32\"}]"), 0, 0, 0, 0},
		{"a reason", hostOf(t, "[not_hello]", "[hello_urgent]"), 0, 0, 0, 1},
	} {
		if i, s, u, a := len(base.NewInterfaces(row.next)), len(base.NewServices(row.next)), len(base.Unprotected(row.next)),
			len(base.NewReasons(row.next)); i != row.interfaces || s != row.services || u != row.unprotected || a != row.allow {
			t.Errorf("%s: %d interfaces, %d services, %d sources, %d reasons", row.name, i, s, u, a)
		}
	}
}

// A set that is compiled for a change of the host file is another set of the same bundles: rules keep their names,
// and it is no relaxation.
func TestSetForAHostFile(t *testing.T) {
	b := mustBundle(t, "version: 1\nname: edge\nrules: [{id: bad, label: bad, score: 100}]\nfeatures:\n"+
		"  prefixes: [{list: own, rule: bad, entries: [198.51.100.0/24]}]\npolicy: {default: {drop: 80}}\n", nil)
	set := NewSet(b)
	with := set.For(Digest{1})
	switch merged := with.Merge(); {
	case with.Digest == set.Digest, with.Name() != "edge", len(with.Members()) != 2, merged.Digest != with.Digest,
		merged.Host != Digest{1}, merged.Rules[0].ID != "bad":
		t.Errorf("%+v, merged %s for %s", with.Members(), merged.Digest.Short(), merged.Host.Short())
	case with.Without("edge").Empty() != true, with.With(b).Digest != with.Digest, with.For(Digest{}).Digest != set.Digest:
		t.Error("bundles come and go otherwise than without it")
	case Relaxes(set, with, testNow), !Relaxes(with, set, testNow), !Relaxes(with, with, testNow):
		t.Error("a change of the host file can newly block, and nothing else of this can")
	}
	again, err := ParseMembers(CanonicalMembers(with.Members()))
	if err != nil || DigestOfMembers(again) != with.Digest {
		t.Errorf("%v, %v", again, err)
	}
}

// What is compared with is what counts for nobody yet of any host file since: a source that one of them protected
// stays protected, and what one of them did not inspect is new.
func TestMeetOfHostFiles(t *testing.T) {
	a := hostOf(t, `, "2001:db8:1::/48"`, "", "443, kind: tls", "443, kind: tls, addresses: [192.0.2.7, 192.0.2.8]")
	b := hostOf(t, "{prefix: 203.0.113.0/28, note: office}, ", "", "[not_hello]", "[]",
		", addresses: [192.0.2.1, 192.0.2.2]", "", "443, kind: tls", "443, kind: tls, addresses: [192.0.2.8, 192.0.2.9]")
	for name, m := range map[string]*Host{"a, b": a.Meet(b), "b, a": b.Meet(a), "a, b, b": a.Meet(b).Meet(b)} {
		var services []string
		for _, s := range m.Services {
			for _, at := range s.Addresses {
				services = append(services, s.Name+" "+at.String())
			}
		}
		if got := strings.Join(services, ", "); got != "web 192.0.2.8, api 192.0.2.1, api 192.0.2.2" ||
			len(m.Sources()) != 2 || len(m.AcceptReasons) != 0 || len(m.Interfaces) != 1 {
			t.Errorf("%s: %s, %v, %v, %v", name, got, m.Sources(), m.AcceptReasons, m.Interfaces)
		}
		for _, h := range []*Host{a, b} {
			if n := len(h.Unprotected(m)) + len(m.NewServices(h)); h == a && n != 1 || h == b && n != 2 {
				t.Errorf("%s: %d", name, n)
			}
		}
	}
}

// Saying the strongest verdict is as saying nothing. A raised one can newly block; a lowered one, and that of a service
// that is new, cannot.
func TestRaisedCaps(t *testing.T) {
	web := func(most string) *Host { return hostOf(t, "443, kind: tls", "443, kind: tls"+most) }
	none, reset, drop, tag := web(""), web(", max_verdict: reset"), web(", max_verdict: drop"), web(", max_verdict: tag")
	if !reflect.DeepEqual(none, reset) || none.Services[0].MaxVerdict != MaxReset || fmt.Sprint(MaxReset) != "reset" {
		t.Errorf("max_verdict: reset is read as %+v", reset.Services[0])
	}
	for _, row := range []struct {
		name       string
		from, next *Host
		want       string
	}{
		{"nothing", drop, drop, ""}, {"raised", tag, drop, "web"}, {"lowered", drop, tag, ""}, {"to all", drop, none, "web"},
		{"in words", none, reset, ""}, {"from nothing", none, drop, ""},
		{"another name", tag, hostOf(t, "name: web", "name: shop"), ""},
	} {
		var got string
		for _, s := range row.from.RaisedCaps(row.next) {
			got += s.Name
		}
		if got != row.want {
			t.Errorf("%s: %q raised, want %q", row.name, got, row.want)
		}
	}
	for _, m := range []*Host{tag.Meet(drop), drop.Meet(tag), tag.Meet(none), none.Meet(tag)} {
		if len(m.Services) != 2 || m.Services[0].MaxVerdict != MaxTag || m.Services[1].MaxVerdict != MaxReset {
			t.Errorf("met in %+v", m.Services)
		}
	}
	for most, rank := range map[MaxVerdict]int{MaxPass: 0, MaxTag: 1, MaxLimit: 2, MaxDrop: 3, MaxReset: 4} {
		if most.Rank() != rank {
			t.Errorf("%s has the rank %d", most, most.Rank())
		}
	}
}
