// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testFacts() HostFacts {
	return HostFacts{
		Interfaces: []Interface{{Name: "eth0", Attach: AttachNative}, {Name: "on", Attach: AttachGeneric},
			{Name: "Ens1.5@x", Attach: AttachNative}},
		Services: []ServiceFact{
			{Service{Name: "web", Addresses: []Address{{}}, Port: 443, Kind: KindTLS, Local: true, Confirm: ConfirmAuto},
				"nginx\nlistens here"},
			{
				Service{Name: "dns",
					Addresses: []Address{{IP: netip.MustParseAddr("2001:db8::53")}, {IP: netip.MustParseAddr("192.0.2.53")}}, Port: 53,
					Kind: KindUDP, Confirm: ConfirmSocket}, ""},
		},
		Allowlist: []AllowEntry{
			{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Note: `SSH peer "admin": # yes`},
			{Prefix: netip.MustParsePrefix("2001:db8::/64")},
		},
	}
}

func TestHostTemplateLoadsAndKeepsTheFacts(t *testing.T) {
	facts := testFacts()
	text := HostTemplate(facts)
	got, err := ParseHost("spillway.yaml", text)
	if err != nil {
		t.Fatalf("parse the template:\n%v\n%s", err, text)
	}
	want := DefaultHost()
	want.Interfaces, want.Allowlist = facts.Interfaces, facts.Allowlist
	for _, s := range facts.Services {
		want.Services = append(want.Services, s.Service)
	}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Errorf("the template says something else (-facts +template):\n%s", diff)
	}
}

// The commented lines must be right too: a person will remove the #.
func TestHostTemplateCommentsLoad(t *testing.T) {
	text := HostTemplate(HostFacts{Interfaces: []Interface{{Name: "eth0"}}, Services: testFacts().Services[:1]})
	got, err := ParseHost("spillway.yaml", uncomment(text))
	if err != nil {
		t.Fatalf("parse the template without its #:\n%v", err)
	}
	want := DefaultHost()
	want.Interfaces, want.Services, want.Allowlist = got.Interfaces, got.Services, got.Allowlist
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Errorf("the comments do not show the defaults (-defaults +comments):\n%s", diff)
	}
}

// uncomment removes the # of lines that have no blank behind it at the top, as HostTemplate writes them.
func uncomment(text []byte) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] == '#' && (i == 0 || text[i-1] == '\n') && i+1 < len(text) && (text[i+1] != ' ' || text[i+2] == ' ') {
			continue
		}
		out = append(out, text[i])
	}
	return out
}
