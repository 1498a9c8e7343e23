// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

// golden is a hello with what the specification says of it. The raw form is written by hand; ja4 hashes it.
type golden struct {
	name   string
	hello  clienthello.Hello
	raw    string
	stable string // raw form of the stable JA4; "": the same
	ja4    string // where it is published
}

// hello returns one of TLS 1.2 with these cipher suites and extensions.
func hello(ciphers []uint16, extensions ...clienthello.Extension) clienthello.Hello {
	return clienthello.Hello{Version: 0x0303, Ciphers: ciphers, Compression: []byte{0}, Extensions: extensions}
}

// one is the shortest list of cipher suites.
var one = []uint16{0x002f}

// ext is an extension with data in hexadecimal.
func ext(kind uint16, data string) clienthello.Extension {
	b, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
	if err != nil {
		panic(err)
	}
	return clienthello.Extension{Type: kind, Data: b}
}

// exts are extensions without data.
func exts(kinds ...uint16) []clienthello.Extension {
	var all []clienthello.Extension
	for _, kind := range kinds {
		all = append(all, ext(kind, ""))
	}
	return all
}

// alpn offers protocols, given in hexadecimal.
func alpn(names ...string) clienthello.Extension {
	list := ""
	for _, name := range names {
		list += fmt.Sprintf("%02x%s", len(name)/2, name)
	}
	return ext(0x0010, fmt.Sprintf("%04x", len(list)/2)+list)
}

// upwards are n numbers from first on, and their list in the specification's form.
func upwards(first, n int) (values []uint16, text string) {
	var all []string
	for v := first; v < first+n; v++ {
		values = append(values, uint16(v))
		all = append(all, fmt.Sprintf("%04x", v))
	}
	return values, strings.Join(all, ",")
}

// ja4Of hashes a raw form, by nothing but the specification's two sentences about it.
func ja4Of(raw string) string {
	a, lists, _ := strings.Cut(raw, "_")
	b, c, _ := strings.Cut(lists, "_")
	hash := func(s string) string {
		if s == "" {
			return "000000000000"
		}
		return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:12]
	}
	return a + "_" + hash(b) + "_" + hash(c)
}

func checkGolden(t *testing.T, rows []golden) {
	t.Helper()
	names := map[string]bool{}
	for _, g := range rows {
		if names[g.name] {
			t.Fatalf("two rows are named %q", g.name)
		}
		names[g.name] = true
		h, err := reference.ParseStream(clienthello.Records(g.hello.Bytes()))
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		if g.stable == "" {
			g.stable = g.raw
		}
		if g.ja4 == "" {
			g.ja4 = ja4Of(g.raw)
		}
		for what, pair := range map[string][2]string{
			"JA4_r": {g.raw, h.JA4Raw()}, "JA4": {g.ja4, h.JA4()},
			"stable JA4_r": {g.stable, h.StableJA4Raw()}, "stable JA4": {ja4Of(g.stable), h.StableJA4()},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %s\nwant %s\ngot  %s", g.name, what, pair[0], pair[1])
			}
		}
	}
}

// The example of JA4.md, and Chrome's fingerprints as they were published.
func TestPublishedFingerprints(t *testing.T) {
	ciphers := []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
		0xc014, 0x009c, 0x009d,
		0x002f, 0x0035}
	const b = "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9"
	const listed = "0403,0804,0401,0503,0805,0501,0806,0601"
	h2, tls13 := alpn("6832"), ext(0x002b, "04 0304 0303")
	algorithms := ext(0x000d, "0010 0403 0804 0401 0503 0805 0501 0806 0601")
	example := []clienthello.Extension{ext(0x001b, ""), ext(0x0000, ""), ext(0x0033, ""), h2, ext(0x4469, ""),
		ext(0x0017, ""), ext(0x002d, ""), algorithms, ext(0x0005, ""), ext(0x0023, ""), ext(0x0012, ""),
		tls13, ext(0xff01, ""),
		ext(0x000b, ""), ext(0x000a, ""), ext(0x0015, "")}
	without := append([]clienthello.Extension{}, example...)
	without[7] = ext(0x000d, "0000")
	chrome := func(algorithms string, more ...uint16) clienthello.Hello {
		all := append(exts(0x2a2a, 0x0005, 0x000a, 0x000b, 0x0012, 0x0000, 0x0017, 0x001b, 0x0023, 0x002d, 0x0033, 0xfe0d,
			0xff01), h2, tls13, ext(0x000d, algorithms))
		return hello(append([]uint16{0xfafa}, ciphers...), append(append(all, exts(more...)...), ext(0x0a0a, "00"))...)
	}
	classic := "0010 0403 0804 0401 0503 0805 0501 0806 0601"
	signatures := "0904 0905 0906 0403 0804 0401 0503 0805 0501 0806 0601" // ML-DSA first
	checkGolden(t, []golden{
		{name: "JA4.md", hello: hello(ciphers, example...),
			raw: "t13d1516h2_" + b + "_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_" + listed,
			ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1", stable: "t13d1514h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,4469,ff01_" + listed},
		{name: "JA4.md without algorithms", hello: hello(ciphers, without...),
			raw: "t13d1516h2_" + b + "_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01",
			ja4: "t13d1516h2_8daaf6152771_6d807ffa2a79", stable: "t13d1514h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,4469,ff01"},
		{name: "Chrome 132", hello: chrome(classic, 0x4469),
			raw: "t13d1516h2_" + b + "_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,4469,fe0d,ff01_" + listed,
			ja4: "t13d1516h2_8daaf6152771_02713d6af862", stable: "t13d1515h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,4469,fe0d,ff01_" + listed},
		{name: "Chrome 133", hello: chrome(classic, 0x44cd),
			raw: "t13d1516h2_" + b + "_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,44cd,fe0d,ff01_" + listed,
			ja4: "t13d1516h2_8daaf6152771_d8a2da3f94cd", stable: "t13d1515h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,44cd,fe0d,ff01_" + listed},
		{name: "Chrome with trust_anchors", hello: chrome(classic, 0x44cd, 0xca34),
			raw: "t13d1517h2_" + b + "_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,44cd,ca34,fe0d,ff01_" + listed,
			ja4: "t13d1517h2_8daaf6152771_dcad5a053991", stable: "t13d1516h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,44cd,ca34,fe0d,ff01_" + listed},
		{name: "Chrome 150", hello: chrome("0016 "+signatures, 0x44cd),
			raw: "t13d1516h2_" + b + "_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,44cd,fe0d,ff01_0904,0905,0906," +
				listed,
			ja4: "t13d1516h2_8daaf6152771_806a8c22fdea", stable: "t13d1515h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,44cd,fe0d,ff01_0904,0905,0906," + listed},
		{name: "Chrome 152, GREASE among the algorithms", hello: chrome("0018 dada "+signatures, 0x44cd, 0xca34),
			raw: "t13d1517h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,44cd,ca34,fe0d,ff01_0904,0905,0906," +
				listed,
			ja4: "t13d1517h2_8daaf6152771_cb7bf5808d99", stable: "t13d1516h2_" + b +
				"_0005,000a,000b,000d,0012,0017,001b,002b,002d,0033,44cd,ca34,fe0d,ff01_0904,0905,0906," + listed},
	})
}
