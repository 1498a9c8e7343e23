// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/yaml"
)

func TestPairFaults(t *testing.T) {
	_, err := ParseBundle("bundle.yaml", []byte(rulesAB+`  pairs:
    - {rule: a, tcp: windows, tls: go}
    - {rule: b, tcp: windows, tls: go}
    - {rule: c, tcp: windows, tls: opera}
    - {rule: a, tcp: windows}
    - {rule: a, tls: go}
    - {rule: a, tcp: bsd, tls: go}
    - {rule: a, tcp: windows, tls: gnutls}
`), nil, testHost(), testOptions)
	want := []string{"duplicate bundle.yaml:9:22", "reference bundle.yaml:10:14", "range bundle.yaml:10:36",
		"missing bundle.yaml:11:7", "missing bundle.yaml:12:7", "range bundle.yaml:13:22"}
	f := mustFaults(t, err)
	if diff := cmp.Diff(want, briefs(f.List)); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, err)
	}
	if got, want := f.List[0].Problem, "the pair windows × go is here a second time; the first is in line 8"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPairsOfABundle(t *testing.T) {
	b := mustBundle(t, verdictBundle, nil)
	if got, want := b.Matched()[2], "prefix list own and 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := b.Matched()[1], "pair raw × chrome and 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	host := testHost()
	host.Services[0].Kind = KindHTTP
	b, err := ParseBundle("bundle.yaml", []byte(verdictBundle), nil, host, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unused bundle.yaml:9:10"}, briefs(b.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if _, takes := b.Counts()[""]; takes || slices.ContainsFunc(Rooms(), func(r Room) bool { return r.Field == "" }) {
		t.Error("pairs take a capacity")
	}
}

// What several bundles say of one pair adds up.
func TestPairsAddUp(t *testing.T) {
	other := "version: 1\nname: u\nrules: [{id: x, label: x, score: 9}]\nfeatures: {pairs: [{rule: x, tcp: raw, tls: go}]}\n"
	var got []string
	for _, f := range setOf(t, verdictBundle, other).Merge().Pairs {
		got = append(got, f.String()+" "+f.Rule)
	}
	want := []string{"raw × chrome t/b", "raw × go t/c", "raw × go u/x", "windows × safari t/b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The families are the catalogue's.
func TestPairsNameTheFamiliesOfTheCatalogue(t *testing.T) {
	enum := func(of reflect.Type) []string { return yaml.FieldsOf(of).Named("family").Limits.Enum }
	if diff := cmp.Diff(enum(reflect.TypeFor[catalogue.KnownStack]()), TCPFamilies()); diff != "" {
		t.Errorf("of SYNs (-catalogue +pairs):\n%s", diff)
	}
	if diff := cmp.Diff(enum(reflect.TypeFor[catalogue.KnownClient]()), TLSFamilies()); diff != "" {
		t.Errorf("of ClientHellos (-catalogue +pairs):\n%s", diff)
	}
}
