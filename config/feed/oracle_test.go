// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go4.org/netipx"

	"github.com/spillway/spillway/config/yaml"
)

// samePrefix compares the quick reader with the one of the bundle's own rows.
func samePrefix(t *testing.T, text string) {
	t.Helper()
	want, masked, err := yaml.ParsePrefix(text)
	got, steps, ok := parsePrefix([]byte(text))
	if ok != (err == nil) || got != want || steps.Masked != masked {
		t.Errorf("%q is read as %v %v %v, want %v %v %v", text, got, steps, ok, want, masked, err)
	}
}

func TestPrefixesAreReadAsOwnRowsAre(t *testing.T) {
	for _, text := range []string{"", "1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "01.2.3.4", "1.2.3.04", "0.0.0.0",
		"256.1.1.1", "1.2.3.4/",
		"1.2.3.4/0", "1.2.3.4/00", "1.2.3.4/08", "1.2.3.4/8", "1.2.3.4/32", "1.2.3.4/33", "1.2.3.4/032", "1.2.3.4/+8",
		"1.2.3.4 ",
		"1..2.3", "1.2.3.4/8/8", "::", "::/0", "::ffff:1.2.3.4", "::ffff:1.2.3.4/120", "::ffff:1.2.3.4/90", "fe80::1%eth0",
		"1.2.3.4%a",
		"2001:db8::1/32", "2001:DB8::1"} {
		samePrefix(t, text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	const marks = "0123456789./:f"
	for range 50_000 {
		text := []byte(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), 0, byte(r.Uint32())}),
			r.IntN(33)).String())
		text[r.IntN(len(text))] = marks[r.IntN(len(marks))]
		samePrefix(t, string(text))
	}
}

// A range is what its prefixes are: they follow each other without a gap from the first to the last address, and no two
// neighbours are halves of one.
func TestRangesAreSplitWithoutGap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(v6 bool) netip.Addr {
		var a [16]byte
		for i := range a {
			a[i] = []byte{0, 255, byte(r.Uint32())}[r.IntN(3)]
		}
		if v6 {
			return netip.AddrFrom16(a)
		}
		return netip.AddrFrom4([4]byte(a[:4]))
	}
	for i := range 2_000 {
		first, last := random(i%2 == 0), random(i%2 == 0)
		if first.Is4() != last.Is4() || first.Is4In6() || last.Is4In6() {
			continue
		}
		if last.Less(first) {
			first, last = last, first
		}
		if isNetmask([]byte(last.String())) {
			continue // an address and its mask
		}
		next, prefixes := first, []netip.Prefix(nil)
		line := strings.NewReader(first.String() + "-" + last.String())
		if _, err := Read(line, Options{Format: Ranges}, func(row *Row) error {
			prefixes = slices.Clone(row.Prefixes)
			return nil
		}); err != nil || len(prefixes) == 0 {
			t.Fatalf("%s-%s: %v", first, last, err)
		}
		for k, p := range prefixes {
			if p != p.Masked() || p.Addr() != next {
				t.Fatalf("%s-%s: %v", first, last, prefixes)
			}
			if k > 0 && p.Bits() == prefixes[k-1].Bits() {
				if wider := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked(); wider.Contains(prefixes[k-1].Addr()) {
					t.Fatalf("%s-%s: %s and %s are %s", first, last, prefixes[k-1], p, wider)
				}
			}
			next = netipx.PrefixLastIP(p).Next()
		}
		if netipx.PrefixLastIP(prefixes[len(prefixes)-1]) != last || len(prefixes) > 254 {
			t.Fatalf("%s-%s: %v", first, last, prefixes)
		}
	}
}

// compareJSON reads documents with this reader and with the standard library's.
func compareJSON(t *testing.T, data []byte) {
	t.Helper()
	_, err := Read(bytes.NewReader(data), Options{Format: JSON}, func(*Row) error { return nil })
	var misfit *Misfit
	if errors.As(err, &misfit) && (strings.Contains(misfit.Problem, "more than") ||
		strings.Contains(misfit.Problem, "UTF-8") ||
		strings.Contains(misfit.Problem, "first 20 rows") || strings.Contains(misfit.Problem, "in a field")) {
		return // what this reader refuses beyond the grammar
	}
	valid := true
	for d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, byteOrderMark))); valid; {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		valid = err == nil
		switch v.(type) {
		case float64, bool:
			return // a document that is a number or a word is no list, and the library needs no blank between two
		}
	}
	if sniff(data[:min(len(data), sniffed)], JSON) != nil {
		return
	}
	if valid != (err == nil) {
		t.Errorf("%q: the library says %v, this reader %v", data, valid, err)
	}
}

func TestJSONIsWhatTheLibraryReads(t *testing.T) {
	for _, text := range []string{"{}", "[]", "[1,]", "[,1]", "{,}", `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `[1 2]`,
		`[] []`, "[]]", "[tru]",
		"[true,false,null]", "[01]", "[-]", "[1.]", "[1e]", "[1E+5,-0.5]", `["\u00e9\ud83d\ude00\ud83d x\n\/"]`, `["\x"]`,
		`["\u12g4"]`,
		"[\"a\tb\"]", "[\"\xff\"]", `["`, `[`, `{"a":[{"b":{}}]}`, "\ufeff[]", "[\"a\"\n,\r\n\"b\"]", `{"a":1 "b":2}`,
		`[nul]`, `[nullx]`} {
		compareJSON(t, []byte(text))
	}
	r := rand.New(rand.NewPCG(5, 6))
	base := []byte(`{"prefixes":[{"ip_prefix":"192.0.2.0/24","n":-1.5e3},{"x":[true,null,"a\/\u0041"]}],"v":0}`)
	for range 20_000 {
		data := bytes.Clone(base)
		for range 1 + r.IntN(3) {
			data[r.IntN(len(data))] = `{}[],:"\ 01-etfnux`[r.IntN(18)]
		}
		compareJSON(t, data)
	}
}

// A file reads the same in whatever pieces it comes.
func TestPiecesMakeNoDifference(t *testing.T) {
	for name, o := range map[string]Options{"aws.json": {Format: JSON},
		"tracker.csv": {Format: CSV, Column: Column{Number: 2}},
		"block.txt":   {Format: Ranges}, "drop.txt": {}} {
		count := func(r io.Reader) (n int, last string) {
			sum, err := Read(r, o, func(*Row) error { return nil })
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return sum.Rows, string(sum.Last)
		}
		data := sample(t, name)
		n, last := count(bytes.NewReader(data))
		m, again := count(iotest.OneByteReader(bytes.NewReader(data)))
		if n != m || last != again || n == 0 || last == "" {
			t.Errorf("%s: %d rows to %q at once, %d to %q in bytes", name, n, last, m, again)
		}
	}
}

func TestBoundsOfAFile(t *testing.T) {
	for _, c := range []struct {
		text string
		o    Options
		want string
	}{
		{"192.0.2.1\n\n192.0.2.2\n", Options{MaxLines: 2}, "too many lines"},
		{"192.0.2.1\n192.0.2.2\n", Options{MaxLines: 2}, ""},
		{`["192.0.2.1", "192.0.2.2"]`, Options{Format: JSON, MaxLines: 1}, "too many lines"},
		{"192.0.2.1 #" + strings.Repeat("x", maxLine), Options{}, "line 1 is longer than 65536 bytes"},
		{`["` + strings.Repeat("x", maxLine+1) + `"]`, Options{Format: JSON}, "1:65540: a text of more than 65536 bytes; valid: addresses"},
		{"192.0.2.1\n", Options{Format: "xml"}, `no format "xml"`},
	} {
		_, err := Read(strings.NewReader(c.text), c.o, func(*Row) error { return nil })
		if got := ""; err != nil {
			if got = err.Error(); got != c.want {
				t.Errorf("%.20q: %s, want %s", c.text, got, c.want)
			}
		} else if c.want != "" {
			t.Errorf("%.20q: no error, want %s", c.text, c.want)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := Read(iotest.ErrReader(broken), Options{}, nil); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
