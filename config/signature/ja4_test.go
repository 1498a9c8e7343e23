// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"strings"
	"testing"
)

func TestParseJA4(t *testing.T) {
	for _, s := range []string{
		"t13d1516h2_8daaf6152771_02713d6af862", "t12i010000_ba72b8082249_000000000000",
		"t13d1615H2_46e7e9700bed_45f260be83e2",
		"ts3i990300_ba72b8082249_02713d6af862", "ts2d0101bd_ba72b8082249_02713d6af862",
		"td2i060000_ba72b8082249_000000000000", "t00i000000_000000000000_000000000000",
		"*_8daaf6152771_02713d6af862", "t13d1516h2_*_02713d6af862", "t13d1516h2_8daaf6152771_*", "t13d1516h2_*_*",
		"*_8daaf6152771_*", "*_*_02713d6af862",
	} {
		j, err := ParseJA4(s)
		if err != nil || j.String() != s {
			t.Errorf("%q is read as %q, %v", s, j, err)
		}
	}
	for s, want := range map[string]string{
		"":                                      "this has 1",
		"t13d1516h2":                            "this has 1",
		"*_*_*":                                 "matches everything",
		"__":                                    "the first part has 0 characters",
		"t13d1516h2__02713d6af862":              "the second part",
		"t13d1516h2_8daaf6152771_":              "the third part",
		"t13d1516h2_8daaf6152771_02713d6af862_": "this has 4",
		"q13d1516h2_8daaf6152771_02713d6af862":  "QUIC arrives with a later release",
		"dd2d1516h2_8daaf6152771_02713d6af862":  "DTLS arrives with a later release",
		"x13d1516h2_8daaf6152771_02713d6af862":  "t for TLS over TCP",
		"t14d1516h2_8daaf6152771_02713d6af862":  `the version "14"`,
		"td4d1516h2_8daaf6152771_02713d6af862":  `the version "d4"`,
		"t13x1516h2_8daaf6152771_02713d6af862":  `"x" where d`,
		"t13d151ah2_8daaf6152771_02713d6af862":  `"151a"`,
		"t13d1516h-_8daaf6152771_02713d6af862":  `"h-"`,
		"t13d1516h_8daaf6152771_02713d6af862":   "9 characters",
		"t13d1516é_8daaf6152771_02713d6af862":   "letters or digits",
		"t13d1516h2_8DAAF6152771_02713d6af862":  "lower case",
		"t13d1516h2_8daaf615277_02713d6af862":   "the second part",
		"t13d1516h2_8daaf6152771_02713d6af86g":  "the third part",
		"t13d0016h2_8daaf6152771_02713d6af862":  "00 ciphers",
		"t13d1516h2_000000000000_02713d6af862":  "00 ciphers",
		"t13i1500h2_8daaf6152771_02713d6af862":  "00 extensions",
		"t13d1516h*_8daaf6152771_02713d6af862":  "letters or digits",
		" t13d1516h2_8daaf6152771_02713d6af862": "11 characters",
	} {
		if j, err := ParseJA4(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", s, j, err, want)
		}
	}
}

func FuzzJA4(f *testing.F) {
	for _, s := range []string{"t13d1516h2_8daaf6152771_02713d6af862", "*_8daaf6152771_*", "__", "*_*_*",
		"t00i000000_000000000000_000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if j, err := ParseJA4(s); err == nil && j.String() != s {
			t.Fatalf("%q is read as %q", s, j)
		}
	})
}
