// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func loadExamples(t *testing.T) (*Host, *Bundle) {
	t.Helper()
	host, err := LoadHost("examples/spillway.yaml")
	if err != nil {
		t.Fatalf("load the example host file:\n%v", err)
	}
	b, err := LoadBundle("examples", host, BundleOptions{})
	if err != nil {
		t.Fatalf("load the example bundle:\n%v", err)
	}
	return host, b
}

func TestExamplesLoadWithoutFaultOrWarning(t *testing.T) {
	host, b := loadExamples(t)
	if len(b.Warnings) > 0 {
		t.Errorf("warnings of the example bundle: %v", b.Warnings)
	}
	if b.OmittedReserved != 1 || b.OmittedProtected != 0 {
		t.Errorf("left out %d reserved and %d protected rows, want 1 and 0", b.OmittedReserved, b.OmittedProtected)
	}
	if got := b.PolicyFor("web").Drop; got != 80 {
		t.Errorf("policy of web drops from %v, want 80", got)
	}
	if got := b.PolicyFor("redirect").Drop; got != Never {
		t.Errorf("policy of redirect drops from %v, want never", got)
	}
	v4, v6 := b.PrefixCount()
	if v4 != 5 || v6 != 2 {
		t.Errorf("%d IPv4 and %d IPv6 prefixes, want 5 and 2", v4, v6)
	}
	if host.Services[1].Local != true || !host.Services[1].Addresses[0].Any() {
		t.Errorf("service without addresses and local: %+v, want any and true", host.Services[1])
	}
}

// What ships as pairs blocks nobody: a ClientHello does not say its system. Each rule says why.
func TestExamplePairsOnlyTag(t *testing.T) {
	host, edge := loadExamples(t)
	b, err := LoadBundle("examples/pairs.yaml", host, BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Warnings) != 1 || b.HasPolicy() || len(b.Pairs) != 7 {
		t.Errorf("warnings %v, %d pairs; want that it has no policy, and 7", b.Warnings, len(b.Pairs))
	}
	for _, r := range b.Rules {
		if r.Verdict != RuleTag || r.Note == "" {
			t.Errorf("rule %s: verdict %q, note %q", r.ID, r.Verdict, r.Note)
		}
	}
	if err := NewSet(edge, b).Check(host); err != nil {
		t.Errorf("beside the example bundle: %v", err)
	}
}

// The example shows the defaults, so it must be the defaults.
func TestExampleHostShowsTheDefaults(t *testing.T) {
	host, _ := loadExamples(t)
	want := DefaultHost()
	want.Interfaces, want.Services, want.Allowlist = host.Interfaces, host.Services, host.Allowlist
	if diff := cmp.Diff(want, host, compareAddresses); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

func TestEmbeddedExamplesAreComplete(t *testing.T) {
	data, err := fs.ReadFile(Examples, "examples/bundle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(Examples, "examples")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle("bundle.yaml", data, sub, nil, BundleOptions{})
	if err != nil {
		t.Fatalf("parse the embedded bundle without a host:\n%v", err)
	}
	if _, onDisk := loadExamples(t); b.Digest != onDisk.Digest {
		t.Errorf("embedded bundle is %s, on disk %s", b.Digest, onDisk.Digest)
	}
	for _, name := range []string{"spillway.yaml", "bundle.yaml", "pairs.yaml"} {
		text, err := fs.ReadFile(sub, name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=") {
			t.Errorf("%s does not begin with the line that editors read the schema from", name)
		}
	}
}
