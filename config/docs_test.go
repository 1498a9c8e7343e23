// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// Whole files in the pages for users are sound, and the bundles are so on the host of docs/HOST.md.
func TestFilesOfThePagesLoad(t *testing.T) {
	whole := func(page string) (out []string) {
		data, err := os.ReadFile("../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(data), -1) {
			if strings.HasPrefix(m[1], "version: 1\n") {
				out = append(out, m[1])
			}
		}
		return out
	}
	hosts := whole("HOST.md")
	if len(hosts) != 1 {
		t.Fatalf("docs/HOST.md has %d whole files, want one", len(hosts))
	}
	host, err := ParseHost("HOST.md", []byte(hosts[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Service{{Confirm: ConfirmAuto}, {Confirm: ConfirmEgress},
		{Confirm: ConfirmAuto, ProxyProtocol: true},
		{Confirm: ConfirmAuto, MPTCP: MPTCPStrip}} {
		got := host.Services[i]
		if got.Confirm != want.Confirm || got.ProxyProtocol != want.ProxyProtocol || got.MPTCP != want.MPTCP {
			t.Errorf("service %s of docs/HOST.md: %+v, want %+v", got.Name, got, want)
		}
	}
	bundles := whole("BUNDLE.md")
	if len(bundles) < 3 {
		t.Errorf("docs/BUNDLE.md has %d whole bundles", len(bundles))
	}
	lists := os.DirFS(t.TempDir())
	for _, text := range bundles {
		if strings.Contains(text, "file: ") { // its list is the reader's
			continue
		}
		b, err := ParseBundle("BUNDLE.md", []byte(text), lists, host, BundleOptions{})
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		} else if len(b.Warnings) > 0 {
			t.Errorf("%v\n%s", b.Warnings, text)
		}
	}
}
