// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"os"
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/rollout"
)

const (
	chrome   = "t13d1516h2_8daaf6152771_02713d6af862" // in the catalogue, with its lists
	unlisted = "t13d1234h2_0123456789ab_ba9876543210" // nowhere
	linux    = `"4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"`
)

// A golden client that would be blocked refuses, and is named with the rule; one that would not is shown as it is,
// without a word. Each has neighbours that nothing blocks, before and behind it.
func TestGoldenClients(t *testing.T) {
	needKernel(t)
	s, err := openSecond()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, row := range []struct {
		name, golden, features string
		says                   string // "" when it passes
	}{
		{"a JA4 of the catalogue", "ja4: " + chrome, "ja4: [{rule: bad, match: " + chrome + "}]",
			"rule `bad`, label wrong"},
		{"another JA4", "ja4: " + chrome, "ja4: [{rule: bad, match: " + unlisted + "}]", ""},
		{"a JA4 that only its hash is known of", "ja4: " + unlisted, "ja4: [{rule: bad, match: " + unlisted + "}]",
			"ClientHello " + unlisted},
		{"a part of it", "ja4: " + unlisted, `ja4: [{rule: bad, match: "*_0123456789ab_*"}]`, "label wrong (ja4)"},
		{"a client by its name", "client: Chrome", "ja4: [{rule: bad, match: " + chrome + "}]", "ClientHello " + chrome},
		{"a stable JA4", "client: Chrome", `ja4: [{rule: bad, match: "*_8daaf6152771_*", stable: true}]`,
			"label wrong (ja4)"},
		{"a MuonFP", `tcp: "64240:2-4-8-1-3:1460:9"`, `tcp: [{rule: bad, muonfp: "64240:2-4-8-1-3:1460:9"}]`,
			"SYN to service web is blocked by rule `bad`"},
		{"another MuonFP", `tcp: "64240:2-4-8-1-3:1460:9"`, `tcp: [{rule: bad, muonfp: "64240:2-4-8-1-3:1460:8"}]`, ""},
		{"a p0f signature", "p0f: " + linux, "p0f: [{rule: bad, signature: " + linux + "}]", "SYN to service web"},
		{"an ordinary SYN is named, the golden client does not say which it sends", "ja4: " + chrome,
			`tcp: [{rule: bad, muonfp: "64240:2-4-8-1-3:1460:7"}]`, ""},
		{"SYN and ClientHello together", `ja4: ` + chrome + `, tcp: "64240:2-4-8-1-3:1460:9"`,
			`tcp: [{rule: half, muonfp: "64240:2-4-8-1-3:1460:9"}], ja4: [{rule: half, match: ` + chrome + `}]`,
			"ClientHello " + chrome},
		{"its ClientHello, and a SYN that it does not say", "ja4: " + chrome,
			"pairs: [{rule: bad, tcp: linux, tls: chrome}, {rule: bad, tcp: windows, tls: chrome}]", ""},
		{"its ClientHello behind its SYN", "ja4: " + chrome + `, tcp: "64240:2-4-8-1-3:1460:7"`,
			"pairs: [{rule: bad, tcp: linux, tls: chrome}]", "label wrong (pair)"},
		{"an address that the host protects", "address: 50.1.2.3",
			"prefixes: [{list: own, rule: bad, entries: [50.0.0.0/10]}]", ""},
		{"a JA4 at an address that the host protects", "address: 50.1.2.3, ja4: " + chrome,
			"ja4: [{rule: bad, match: " + chrome + "}]", "ClientHello " + chrome},
		{"a SYN at an address that the host protects", `address: 50.1.2.3, tcp: "64240:2-4-8-1-3:1460:9"`,
			`tcp: [{rule: bad, muonfp: "64240:2-4-8-1-3:1460:9"}]`, "SYN to service web"},
		{"its JA4 is not named, and the net around its address is", "address: 50.1.2.3, ja4: " + chrome,
			"prefixes: [{list: own, rule: bad, entries: [50.0.0.0/10]}]", ""},
		{"from anywhere, beside a list", "ja4: " + chrome, "prefixes: [{list: own, rule: bad, entries: [11.0.0.0/10]}]", ""},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			host := hostText + "golden:\n  - {name: before, service: web, ja4: " + anyJA4(t) + "}\n" +
				"  - {name: shop, service: web, " + row.golden + "}\n" +
				"  - {name: behind, service: web, ja4: t13d0102h2_aaaaaaaaaaaa_bbbbbbbbbbbb}\n"
			r := shown(t, s, host, "version: 1\nname: test\nrules: [{id: bad, label: wrong, score: 100}, "+
				"{id: half, label: half, score: 50}]\nfeatures: {"+row.features+"}\npolicy: {default: {drop: 80}}\n")
			switch {
			case row.says == "" && r.Outcome != rollout.TastePassed:
				t.Errorf("%+v", r.Taste)
			case row.says != "" && (r.Outcome != rollout.TasteGolden || r.Golden != "shop" ||
				!strings.Contains(r.Detail, row.says)):
				t.Errorf("%+v, want shop blocked: %q", r.Taste, row.says)
			case len(r.Warnings) > 0:
				t.Errorf("warnings: %q", r.Warnings)
			}
		})
	}
}

// A golden client that a bundle limits is not blocked, however often it is shown: a warning says who limits it.
func TestGoldenClientsOfALimit(t *testing.T) {
	needKernel(t)
	s, err := openSecond()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	const rule = "version: 1\nname: test\nrules: [{id: bad, label: wrong, score: 60}]\nfeatures: {ja4: [{rule: bad, match: "
	host := hostText + "golden:\n  - {name: shop, service: web, ja4: " + unlisted + "}\n"
	for _, policy := range []string{"limit: 60, rate: {connections: 1/h}, drop: 80", "tag: 60, drop: 80"} {
		for range 2 {
			r := shown(t, s, host, rule+unlisted+"}]}\npolicy: {default: {"+policy+"}}\n")
			limits := strings.HasPrefix(policy, "limit")
			if r.Outcome != rollout.TastePassed || limits != (len(r.Warnings) == 1) || limits && !strings.Contains(r.Warnings[0],
				"golden client shop: its ClientHello "+unlisted+" to service web is limited by rule `bad`, label wrong (ja4): "+
					"1/h by source, 1 at once, over it drop; 8 times as much for shared addresses") {
				t.Errorf("%s: %+v, warnings %q", policy, r.Taste, r.Warnings)
			}
		}
	}
}

// shown shows a host's golden clients to a bundle.
func shown(t *testing.T, s *second, host, bundle string) (r Result) {
	t.Helper()
	h, err := config.ParseHost("spillway.yaml", []byte(host))
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.ParseBundle("bundle.yaml", []byte(bundle), os.DirFS(t.TempDir()), h, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	here, _ := b.LeaveOut(config.Protected(h, nil))
	image, err := compile.HostFile(h, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err := compile.Bundle(here, image, 7, loader.Now())
	if err != nil {
		t.Fatal(err)
	}
	tables, err := loader.BuildTables(img, h.Capacity)
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	if err := s.show(&r, h, nil, tables, here); err != nil {
		t.Fatal(err)
	}
	return r
}

// The same as the unit does it, with the rights that are left: what is blocked is not adopted.
func TestTasteShowsGoldenClients(t *testing.T) {
	pins, files := unitFolders(t)
	host := hostText + "golden:\n  - {name: shop, service: web, ja4: " + unlisted + "}\n"
	save(t, files, host, "version: 1\nname: test\nrules: [{id: bad, label: wrong, score: 100}]\n"+
		"features: {ja4: [{rule: bad, match: "+unlisted+"}]}\npolicy: {default: {drop: 80}}\n", 0)
	r := tasteAsUnit(t, order{Pins: pins, State: files, Host: host, Golden: true})
	if r.Taste.Outcome != rollout.TasteGolden || r.Taste.Golden != "shop" || r.Slot != 0 || len(r.Left) > 0 {
		t.Errorf("%+v in slot %d, left %v", r.Taste, r.Slot, r.Left)
	}
	t.Logf("it took %s", r.Result.Took)
}

func anyJA4(t *testing.T) string {
	t.Helper()
	r, err := signature.ParseRawJA4(anyHello)
	if err != nil {
		t.Fatal(err)
	}
	return r.JA4().String()
}
