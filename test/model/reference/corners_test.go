// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

func TestVersions(t *testing.T) {
	legacy := func(version uint16, extensions ...clienthello.Extension) clienthello.Hello {
		h := hello(one, extensions...)
		h.Version = version
		return h
	}
	versions := func(data string) clienthello.Extension { return ext(0x002b, data) }
	rows := []golden{
		{name: "the highest, wherever it stands", hello: hello(one, versions("06 0303 0304 0302")),
			raw: "t13i010100_002f_002b"},
		{name: "the extension wins over a higher legacy version", hello: legacy(0x0304, versions("02 0302")),
			raw: "t11i010100_002f_002b"},
		{name: "GREASE is not the highest", hello: hello(one, versions("06 fafa 0303 0302")), raw: "t12i010100_002f_002b"},
		{name: "what looks like GREASE is unknown", hello: hello(one, versions("04 0304 0a1a")), raw: "t00i010100_002f_002b"},
		{name: "a draft is unknown", hello: hello(one, versions("06 7f17 0304 0303")), raw: "t00i010100_002f_002b"},
		{name: "DTLS 1.2 is the highest of its kind", hello: hello(one, versions("04 fefc fefd")),
			raw: "td2i010100_002f_002b"},
		{name: "GREASE alone counts as no version", hello: legacy(0x0302, versions("04 0a0a dada")),
			raw: "t11i010100_002f_002b"},
		{name: "0000 alone", hello: legacy(0x0303, versions("02 0000")), raw: "t00i010100_002f_002b"},
		{name: "0000 is the lowest", hello: legacy(0x0301, versions("04 0000 0302")), raw: "t11i010100_002f_002b"},
		{name: "0000 and GREASE", hello: legacy(0x0303, versions("04 0000 0a0a")), raw: "t00i010100_002f_002b"},
		{name: "an empty list", hello: legacy(0x0301, versions("00")), raw: "t10i010100_002f_002b"},
		{name: "no list", hello: legacy(0x0301, versions("")), raw: "t10i010100_002f_002b"},
		{name: "two extensions", hello: legacy(0x0301, versions("02 0302"), versions("02 0303")),
			raw: "t12i010200_002f_002b,002b"},
		{name: "two extensions, the first higher", hello: hello(one, versions("02 0304"), versions("02 0303")),
			raw: "t13i010200_002f_002b,002b"},
		{name: "GREASE as legacy version", hello: legacy(0x0a0a), raw: "t00i010000_002f_"},
	}
	for version, name := range map[uint16]string{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3",
		0x0002: "s2", 0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3", 0x0305: "00", 0x0200: "00", 0: "00", 0xffff: "00"} {
		rows = append(rows,
			golden{name: fmt.Sprintf("legacy %04x", version), hello: legacy(version), raw: "t" + name + "i010000_002f_"},
			golden{name: fmt.Sprintf("supported %04x", version), hello: hello(one, versions(fmt.Sprintf("02 %04x", version))),
				raw: "t" + name + "i010100_002f_002b"})
	}
	checkGolden(t, rows)
}

// The record's version has no say.
func TestRecordVersion(t *testing.T) {
	stream := clienthello.Records(hello(one).Bytes())
	for minor := range 256 {
		stream[2] = byte(minor)
		if h, err := reference.ParseStream(stream); err != nil || h.JA4Raw() != "t12i010000_002f_" {
			t.Fatalf("record version 3.%d: %v, %v", minor, h, err)
		}
	}
}

func TestFirstProtocol(t *testing.T) {
	rows := []golden{
		{name: "no extension", hello: hello(one), raw: "t12i010000_002f_"},
		{name: "no data", hello: hello(one, ext(0x0010, "")), raw: "t12i010100_002f_"},
		{name: "empty list", hello: hello(one, ext(0x0010, "0000")), raw: "t12i010100_002f_"},
		{name: "first of two", hello: hello(one, alpn("6832", "687474702f312e31")), raw: "t12i0101h2_002f_"},
		{name: "two extensions", hello: hello(one, alpn("6833"), alpn("6832")), raw: "t12i0102h3_002f_"},
		{name: "two extensions, the first empty", hello: hello(one, ext(0x0010, "0000"), alpn("6832")),
			raw: "t12i0102h2_002f_"},
		{name: "the second name goes over the end", hello: hello(one, ext(0x0010, "0004 026832 ff")),
			raw: "t12i0101h2_002f_"},
		{name: "first empty, then h2", hello: hello(one, alpn("", "6832")), raw: "t12i010100_002f_"},
		{name: "GREASE, then h2", hello: hello(one, alpn("0a0a", "6832")), raw: "t12i0101h2_002f_"},
		{name: "GREASE that can be printed", hello: hello(one, alpn("7a7a", "6832")), raw: "t12i0101h2_002f_"},
		{name: "GREASE, then nothing", hello: hello(one, alpn("dada", "1a1a")), raw: "t12i010100_002f_"},
		{name: "GREASE, then an empty one", hello: hello(one, alpn("dada", "", "6832")), raw: "t12i010100_002f_"},
		{name: "16 times GREASE, then h2", hello: hello(one, alpn(append(slices.Repeat([]string{"fafa"}, 16), "6832")...)),
			raw: "t12i0101h2_002f_"},
		{name: "17 times GREASE, then h2", hello: hello(one, alpn(append(slices.Repeat([]string{"fafa"}, 17), "6832")...)),
			raw: "t12i0101fa_002f_"},
		{name: "one byte of GREASE", hello: hello(one, alpn("0a", "6832")), raw: "t12i01010a_002f_"},
		{name: "two extensions, the first of GREASE", hello: hello(one, alpn("0a0a"), alpn("6832")), raw: "t12i0102h2_002f_"},
	}
	for name, want := range map[string]string{
		"6832": "h2", "687474702f312e31": "h1", "6831": "h1", "61": "aa", "5a": "ZZ", "4832": "H2", // a character is both
		// JA4.md
		"ab": "ab", "20": "20", "abcd": "ad", "2061": "21", "30ab": "3b", "6120": "60", "3031abcd": "3d", "30abcd31": "01",
		"0a0a": "00", "7a7a": "00", "dada": "00", "0a1a": "0a", "7a7a7a": "zz", "00": "00", "ff": "ff",
		"3061ff": "3f", "ff6130": "f0",
		"2f": "2f", "30": "00", "39": "99", "3a": "3a", "40": "40", "41": "AA", "5b": "5b", "60": "60",
		"7b": "7b", "80": "80",
		"c3a9": "c9", "68c3a9": "69",
	} {
		rows = append(rows, golden{name: "name " + name, hello: hello(one, alpn(name)), raw: "t12i0101" + want + "_002f_"})
	}
	checkGolden(t, rows)
}

func TestCounts(t *testing.T) {
	rows := []golden{
		{name: "no-cipher values count", hello: hello([]uint16{0x5600, 0x00ff, 0xfeff, 0xfe00, 0x002f}),
			raw: "t12i050000_002f,00ff,5600,fe00,feff_"},
		{name: "SNI, ALPN and padding count", hello: hello(one, ext(0x0015, "0000"), ext(0, "ff"), alpn("6832")),
			raw: "t12d0103h2_002f_0015", stable: "t12d0102h2_002f_"},
		{name: "duplicates count", hello: hello([]uint16{0x35, 0x2f, 0x35}, exts(0x17, 0x05, 0x17, 0x00, 0x00)...),
			raw: "t12d030500_002f,0035,0035_0005,0017,0017"},
		{name: "no ciphers", hello: hello(nil, ext(0x0017, "")), raw: "t12i000100__0017",
			ja4: "t12i000100_000000000000_1ca028f07214"},
		{name: "only GREASE", hello: hello([]uint16{0x1a1a}, exts(0x2a2a, 0xfafa)...), raw: "t12i000000__",
			ja4: "t12i000000_000000000000_000000000000"},
		{name: "only SNI and ALPN", hello: hello(one, ext(0, ""), alpn("6832")), raw: "t12d0102h2_002f_"},
		{name: "only what the stable form leaves out", hello: hello(one, exts(0x29, 0x15, 0x23, 0x2c, 0x2a)...),
			raw: "t12i010500_002f_0015,0023,0029,002a,002c", stable: "t12i010000_002f_"},
		{name: "neighbours of those stay", hello: hello(one, exts(0x14, 0x16, 0x22, 0x24, 0x28, 0x2b, 0x2d)...),
			raw: "t12i010700_002f_0014,0016,0022,0024,0028,002b,002d"},
		{name: "an empty block", hello: hello(one), raw: "t12i010000_002f_"},
		{name: "order is by number", hello: hello([]uint16{0xff00, 0x00fe, 0x0100}, exts(0xff01, 0x0100, 0x00ff)...),
			raw: "t12i030300_00fe,0100,ff00_00ff,0100,ff01"},
	}
	for _, n := range []int{32, 33, 255} { // TLS allows 32; Go's servers take all
		h := hello(one)
		h.SessionID = make([]byte, n)
		rows = append(rows, golden{name: fmt.Sprint("a session id of ", n), hello: h, raw: "t12i010000_002f_"})
	}
	bare := hello(one)
	bare.Bare = true
	rows = append(rows, golden{name: "no block", hello: bare, raw: "t12i010000_002f_"})
	for n, want := range map[int]string{9: "09", 98: "98", 99: "99", 100: "99", 130: "99", 256: "99"} {
		ciphers, b := upwards(0xc000, n)
		rows = append(rows, golden{name: fmt.Sprint(n, " ciphers"), hello: hello(append(ciphers, 0xdada)),
			raw: "t12i" + want + "0000_" + b + "_"})
		kinds, c := upwards(0x1000, n)
		rows = append(rows, golden{name: fmt.Sprint(n, " extensions"), hello: hello(one, exts(append(kinds, 0xeaea)...)...),
			raw: "t12i01" + want + "00_002f_" + c})
	}
	kinds, c := upwards(0x1000, 98)
	rows = append(rows, golden{name: "the stable count is capped by itself", raw: "t12i019900_002f_0015,0029," + c,
		stable: "t12i019800_002f_" + c, hello: hello(one, append(exts(0x15), exts(append(kinds, 0x29)...)...)...)})
	checkGolden(t, rows)
}

func TestSignatureAlgorithms(t *testing.T) {
	algorithms := func(data string) clienthello.Extension { return ext(0x000d, data) }
	checkGolden(t, []golden{
		{name: "in the order sent, twice too", hello: hello(one, algorithms("0006 0804 0403 0804"), ext(5, "")),
			raw: "t12i010200_002f_0005,000d_0804,0403,0804"},
		{name: "without GREASE", hello: hello(one, algorithms("0008 1a1a 0403 0a1a fafa")),
			raw: "t12i010100_002f_000d_0403,0a1a"},
		{name: "only GREASE", hello: hello(one, algorithms("0002 5a5a")), raw: "t12i010100_002f_000d"},
		{name: "empty list", hello: hello(one, algorithms("0000")), raw: "t12i010100_002f_000d"},
		{name: "no data", hello: hello(one, algorithms("")), raw: "t12i010100_002f_000d"},
		{name: "not those of delegated_credentials", hello: hello(one, ext(0x0022, "0002 0403"), algorithms("0002 0804"),
			ext(0x0032, "0002 0601")), raw: "t12i010300_002f_000d,0022,0032_0804"},
		{name: "delegated_credentials alone", hello: hello(one, ext(0x0022, "0002 0403")), raw: "t12i010100_002f_0022"},
		{name: "two extensions: the first", hello: hello(one, algorithms("0002 0804"), algorithms("0002 0403")),
			raw: "t12i010200_002f_000d,000d_0804"},
		{name: "two extensions: the first, empty", hello: hello(one, algorithms(""), algorithms("0002 0403")),
			raw: "t12i010200_002f_000d,000d"},
		{name: "the second is opaque", hello: hello(one, algorithms("0002 0804"), algorithms("ff")),
			raw: "t12i010200_002f_000d,000d_0804"},
	})
}

// Exactly the 16 values of RFC 8701 are dropped, from all four lists.
func TestGREASE(t *testing.T) {
	all := map[uint16]bool{}
	for i := range 16 {
		all[uint16(i<<12|0x0a00|i<<4|0x0a)] = true
	}
	for v := range 1 << 16 {
		value := uint16(v)
		if reference.IsGREASE(value) != all[value] {
			t.Fatalf("%04x", value)
		}
	}
	var rows []golden
	for v := range all {
		rows = append(rows,
			golden{name: fmt.Sprintf("%04x", v), hello: hello([]uint16{0x2f, v, 0x35}, ext(v, "00"), ext(5, ""),
				ext(0x000d, fmt.Sprintf("0004 %04x 0403", v)), ext(0x002b, fmt.Sprintf("04 %04x 0304", v))),
				raw: "t13i020300_002f,0035_0005,000d,002b_0403"})
	}
	for _, v := range []uint16{0x0a1a, 0x1a0a, 0xfa0a, 0x0b0b, 0xa0a0, 0x000a} {
		s := fmt.Sprintf("%04x", v)
		rows = append(rows, golden{name: s, hello: hello([]uint16{v}, ext(v, ""), ext(0x000d, "0002"+s)),
			raw: "t12i010200_" + s + "_" + min(s, "000d") + "," + max(s, "000d") + "_" + s})
	}
	checkGolden(t, rows)
}
