// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/signature"
)

func loadCatalogue(t testing.TB) *Catalogue {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatalf("load the catalogue:\n%v", err)
	}
	return c
}

func clientNames(clients []KnownClient) []string {
	names := []string{}
	for _, c := range clients {
		names = append(names, c.Name+" "+c.Versions)
	}
	return names
}

func stackNames(stacks []KnownStack) []string {
	names := []string{}
	for _, s := range stacks {
		names = append(names, s.Name+" "+s.Versions)
	}
	return names
}

// The catalogue's own file is read by other code than the loader's: every hash is made of the lists beside it.
func TestCatalogueHashes(t *testing.T) {
	lists := 0
	for _, c := range loadCatalogue(t).Clients {
		for _, h := range c.Hellos {
			if h.Raw == "" {
				continue
			}
			lists++
			a, rest, _ := strings.Cut(h.Raw, "_")
			b, rest, _ := strings.Cut(rest, "_")
			want := fmt.Sprintf("%s_%x_%x", a, sum6(b), sum6(rest))
			if got := h.JA4.String(); got != want {
				t.Errorf("%s %s: ja4 %s, want %s of %s", c.Name, c.Versions, got, want, h.Raw)
			}
		}
	}
	if lists < 50 {
		t.Errorf("%d ClientHellos with lists were looked at, want 50 or more", lists)
	}
}

func sum6(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:6] }

func TestCatalogueNamesClients(t *testing.T) {
	c := loadCatalogue(t)
	for _, row := range []struct {
		about, ja4 string
		want       []string
	}{
		{"a browser's", "t13d1517h2_8daaf6152771_e2d80978ab2e", nil}, // resumed, but one extension short
		{"resumed", "t13d1518h2_8daaf6152771_e2d80978ab2e", []string{"Chromium 156"}},
		{"without a server name", "t13i1517h2_8daaf6152771_e2d80978ab2e", []string{"Chromium 156"}},
		{"a field trial's and a later version's", "t13d1517h2_8daaf6152771_cb7bf5808d99",
			[]string{"Chrome 150 to 151", "Chrome 152 to 153", "Chromium 156"}},
		{"an imitation's too", "t13d1715h2_5b57614c22b0_5c2c66f702b0", []string{"Firefox 120", "uTLS as Firefox 120 1.8.2"}},
		{"a library's", "t13d311100_e8f1e7e78f70_d41ae481755e", []string{
			"Python urllib, context of its own 3.11", "Python aiohttp 3.8", "Perl LWP 6.68", "w3m of Debian 12"}},
		{"nobody's", "t13d0101h2_000000000001_000000000001", nil},
		{"no JA4", "chrome", nil},
		{"open", "t13d1517h2_*_*", nil},
	} {
		want := row.want
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, clientNames(c.ByJA4(row.ja4))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", row.about, row.ja4, diff)
		}
	}
}

// However a client was met, its stable JA4 names it.
func TestCatalogueStable(t *testing.T) {
	c := loadCatalogue(t)
	got := clientNames(c.ByStableJA4("t13d1516h2_8daaf6152771_22db41f7518f"))
	if want := []string{"Chrome 150 to 151", "Chrome 152 to 153", "Chromium 156"}; !slices.Equal(got, want) {
		t.Errorf("the stable JA4 of Chromium 156 names %q, want %q", got, want)
	}
	for _, client := range c.Clients {
		for _, h := range client.Hellos {
			if h.Raw == "" {
				continue
			}
			if !slices.Contains(clientNames(c.ByStableJA4(h.Stable.String())), client.Name+" "+client.Versions) {
				t.Errorf("%s %s is not found by its stable JA4 %s", client.Name, client.Versions, h.Stable)
			}
		}
	}
}

func TestCatalogueNamesStacks(t *testing.T) {
	c := loadCatalogue(t)
	for _, row := range []struct{ muonfp, p0f, want string }{
		{"64240:2-4-8-1-3:1460:10", "4:64+0:0:1460:mss*44,10:mss,sok,ts,nop,ws:df,id+:0", "Linux 6.18"},
		{"61600:2-4-8-1-3:1400:10", "4:57+7:0:1400:mss*44,10:mss,sok,ts,nop,ws:df,id+:0", "Linux 6.18"}, // by the signature
		{"64240:2-4-8-1-3:1460:10", "", "Linux 6.18"},                                                   // by the string
		{"65535:2-1-3-1-1-4:1452:8", "4:120+8:0:1452:65535,8:mss,nop,ws,nop,nop,sok:df,id+:0", "Windows 11"},
		{"65535:2-1-3-1-1-8-4-0:1460:6", "4:50+14:0:1460:65535,6:mss,nop,ws,nop,nop,ts,sok,eol+1:df,ecn:0",
			"macOS and iOS 26"},
		{"1024:2:1460:", "4:41+23:0:1460:1024,0:mss::0", "nmap -sS 7.93"},
		{"1024:::", "4:255+0:0:0:1024,0:::0", "masscan 1.3.2"},
		// id+ is missing, but the string fits
		{"29200:2-4-8-1-3:1460:7", "4:64+0:0:1460:mss*20,7:mss,sok,ts,nop,ws:df:0", "Linux 3.11 to 4.18"},
		{"5:2:1460:", "4:64+0:0:1460:5,0:mss::0", ""},
	} {
		fp, err := signature.ParseMuonFP(row.muonfp)
		if err != nil {
			t.Fatal(err)
		}
		var seen *signature.P0F
		if row.p0f != "" {
			s, err := signature.ParseP0F(row.p0f)
			if err != nil {
				t.Fatal(err)
			}
			seen = &s
		}
		if got := strings.Join(stackNames(c.ByTCP(fp, seen)), ", "); got != row.want {
			t.Errorf("%s %s: %q, want %q", row.muonfp, row.p0f, got, row.want)
		}
	}
}

func TestP0FFits(t *testing.T) {
	const seen = "4:54+10:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"
	for _, row := range []struct {
		signature string
		want      bool
	}{
		{"*:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:*", true},
		{"*:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+,flow:0", true}, // flow is IPv6's
		{"6:64:0:*:*,*:mss,sok,ts,nop,ws:flow:0", false},
		{"4:64:0:1460:64240,7:mss,sok,ts,nop,ws:df,id+:0", true},
		{"4:64:0:1460:64241,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:0:*:%1460,7:mss,sok,ts,nop,ws:df,id+:0", true},
		{"4:64:0:*:%8192,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:0:1400:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:0:*:mss*44,8:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:128:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:128-:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", true},
		{"4:32:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:4:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", false},
		{"4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df:0", false},
		{"4:64:0:*:mss*44,7:mss,nop,ts,sok,ws:df,id+:0", false},
		{"4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:+", false},
	} {
		s, err := signature.ParseP0F(row.signature)
		if err != nil {
			t.Fatalf("%s: %v", row.signature, err)
		}
		syn, err := signature.ParseP0F(seen)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Fits(syn); got != row.want {
			t.Errorf("%s fits %s: %t, want %t", row.signature, seen, got, row.want)
		}
	}
}
