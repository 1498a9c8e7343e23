// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

var prefixLayouts = map[string]*prefixLayout{"IPv4": layout4, "IPv6": layout6}

// mapOf is a map of pages that lies in memory.
type mapOf struct {
	pages []bpf.PrefixPage
	at    int
}

func (p *mapOf) Next(keys, values any) (n int, more bool, err error) {
	k, v := keys.([]uint32), values.([]bpf.PrefixPage)
	for n < len(k) && p.at < len(p.pages) {
		k[n], v[n] = uint32(p.at), p.pages[p.at]
		n, p.at = n+1, p.at+1
	}
	return n, p.at < len(p.pages), nil
}

// number is a prefix in a layout: some of the upper bits of a number.
type number struct {
	at   uint64
	bits int
}

// tableOf builds the table of prefixes, whose heads are 1 plus their place in the sorted list modulo heads.
func (l *prefixLayout) tableOf(prefixes []number, heads int) *prefixTable {
	for i, p := range prefixes {
		prefixes[i].at = p.at &^ (l.end()>>p.bits - 1) & (l.end() - 1)
	}
	slices.SortFunc(prefixes, func(a, b number) int { return cmp.Or(cmp.Compare(a.at, b.at), a.bits-b.bits) })
	t := l.new().(*prefixTable)
	for i, p := range slices.Compact(prefixes) {
		t.add(netip.PrefixFrom(l.address(p.at), p.bits+l.outside), uint32(1+i%heads))
	}
	t.build()
	return t
}

// byMatch is the oracle: the longest row around a number, by a map of each length.
func byMatch(t *prefixTable) func(uint64) uint16 {
	rows := map[number]uint16{}
	lengths := map[int]bool{}
	for _, r := range t.rows {
		rows[number{r.first, max(int(r.bits), 0)}], lengths[int(r.bits)] = r.head, true
	}
	return func(a uint64) uint16 {
		for bits := int(t.numberBits); bits >= 0; bits-- {
			if !lengths[bits] {
				continue
			}
			if head, ok := rows[number{a &^ (t.end()>>bits - 1), bits}]; ok {
				return head
			}
		}
		return 0
	}
}

// edges are numbers at which something may begin or end.
func edges(t *prefixTable) []uint64 {
	out := []uint64{0, t.end() - 1}
	for _, r := range t.rows {
		for _, a := range []uint64{r.first - 1, r.first, r.first + 1, r.last - 1, r.last, r.last + 1} {
			out = append(out, a&(t.end()-1))
		}
	}
	return out
}

// shapes of lists: what real ones have, and what is hardest for chunks and pages.
func (l *prefixLayout) shapes(r *rand.Rand) map[string][]number {
	many := func(n int, f func(i uint64) number) (out []number) {
		for i := range uint64(n) {
			out = append(out, f(i))
		}
		return out
	}
	all, chunk, last := int(l.numberBits), uint64(1)<<l.keyBits, l.end()-1
	somewhere, top := 40*chunk+chunk/3, all-int(l.keyBits)
	return map[string][]number{
		"one address":           {{somewhere, all}},
		"the first and last":    {{0, all}, {last, all}},
		"everything":            {{0, 0}},
		"all but the edges":     {{0, 0}, {0, all}, {last, all}},
		"halves":                {{0, 1}, {last, 1}},
		"the edge of a chunk":   {{chunk - 1, all}, {chunk, all}, {2 * chunk, top}, {2*chunk - 1, all}},
		"over chunks":           {{64 * chunk, 8}, {80 * chunk, 12}, {81 * chunk, top}, {81*chunk + 99, all}},
		"neighbours of a half":  {{last, 1}, {last / 2, all}, {last/2 + 1, all}, {last, 2}},
		"nested, to the bottom": many(all+1, func(i uint64) number { return number{somewhere, int(i)} }),
		"each other address":    many(20_000, func(i uint64) number { return number{somewhere + 2*i, all} }),
		"adjacent":              many(20_000, func(i uint64) number { return number{somewhere + i, all} }),
		"random addresses":      many(20_000, func(uint64) number { return number{r.Uint64(), all} }),
		"random networks":       many(20_000, func(uint64) number { return number{r.Uint64(), all - 8} }),
		"random": many(20_000, func(uint64) number {
			return number{r.Uint64(), all - []int{0, 0, 0, 8, 8, 10, 12, 16, 20, 24}[r.IntN(10)]}
		}),
		"dense and nested": many(20_000, func(uint64) number {
			return number{somewhere + r.Uint64N(64*chunk), 12 + r.IntN(all-11)}
		}),
		"dense in a chunk": many(20_000, func(uint64) number { return number{40*chunk + r.Uint64N(chunk), all - r.IntN(9)} }),
	}
}

// The table says what the longest match says, at every edge and at random, and takes no more pages than were planned.
func TestPrefixesAreTheLongestMatch(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	for version, l := range prefixLayouts {
		for name, prefixes := range l.shapes(r) {
			for _, heads := range []int{1, 5000} {
				table := l.tableOf(slices.Clone(prefixes), heads)
				want, word := byMatch(table), wordsOf(table.pages)
				asked := edges(table)
				for range 2_000 {
					asked = append(asked, r.Uint64()&(l.end()-1))
				}
				for _, a := range asked {
					if got := l.head(word, a); got != want(a) {
						t.Fatalf("%s, %s, %d heads: %s has rule node %d, want %d", version, name, heads, l.address(a), got, want(a))
					}
				}
				if most := l.pages(len(table.rows)); table.Entries() > most {
					t.Errorf("%s, %s: %d pages, %d were planned for %d rows", version, name, table.Entries(), most, len(table.rows))
				}
				if drifts, err := table.Compare(&mapOf{pages: table.pages}); err != nil || len(drifts) > 0 {
					t.Errorf("%s, %s differs from itself: %v, %v", version, name, drifts, err)
				}
			}
		}
	}
}

// A table that differs says in which row, as it was written.
func TestPrefixesThatDifferAreNamed(t *testing.T) {
	for version, l := range prefixLayouts {
		all := int(l.numberBits)
		rows := []number{{10 << (all - 8), 8}, {20 << (all - 8), 24}, {30 << (all - 8), all}}
		more := number{40 << (all - 8), 25}
		text := func(p number) string { return netip.PrefixFrom(l.address(p.at), p.bits+l.outside).String() }
		table := l.tableOf(slices.Clone(rows), 100)
		for _, row := range []struct {
			name, where, want, got string
			pages                  []bpf.PrefixPage
		}{
			{"a row less", text(rows[2]), "rule node 3", "nothing", l.tableOf(slices.Clone(rows[:2]), 100).pages},
			{"a row more", text(more), "nothing", "rule node 4", l.tableOf(append(slices.Clone(rows), more), 100).pages},
			{"nothing", text(rows[0]), "rule node 1", "nothing", nil},
			{"a page less", text(rows[2]), "rule node 3", "nothing", table.pages[:l.chunkPages()]},
			{"a page more", l.name, "pages, as they were built", "in other words",
				append(slices.Clone(table.pages), bpf.PrefixPage{})},
		} {
			drifts, err := table.Compare(&mapOf{pages: row.pages})
			if err != nil || !slices.ContainsFunc(drifts, func(d Drift) bool {
				return strings.HasSuffix(d.Where, row.where) && strings.HasSuffix(d.Want, row.want) &&
					strings.HasSuffix(d.Got, row.got)
			}) {
				t.Errorf("%s, %s: %+v, %v", version, row.name, drifts, err)
			}
			if (&prefixTable{prefixLayout: l, rows: table.rows, pages: row.pages}).Sum() == table.Sum() {
				t.Errorf("%s, %s: the same sum", version, row.name)
			}
		}
	}
}

func wordsOf(pages []bpf.PrefixPage) func(uint32) uint32 {
	return (&pagesIn{built: pages, n: len(pages)}).word
}

// Words that no build writes lead to some head or to nothing, and reading them ends.
func FuzzAPrefixTableOfAnyWords(f *testing.F) {
	f.Add(uint64(1), uint64(0x0a000001))
	f.Fuzz(func(t *testing.T, seed, address uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		for _, l := range prefixLayouts {
			pages := make([]bpf.PrefixPage, l.chunkPages()+1)
			for range 1000 {
				pages[r.IntN(len(pages))].Words[r.IntN(bpf.PrefixPageWords)] = r.Uint32() >> r.IntN(32)
			}
			l.head(wordsOf(pages), address&(l.end()-1))
			l.wantBounded(t, pages)
		}
	})
}

// wantBounded compares with pages of any words.
func (l *prefixLayout) wantBounded(t *testing.T, pages []bpf.PrefixPage) {
	t.Helper()
	ranges := l.ranges(&pagesIn{built: pages, n: len(pages)})
	if most := uint64(len(pages))*bpf.PrefixPageWords + l.chunks(); uint64(len(ranges)) > most {
		t.Errorf("%d ranges of %d words", len(ranges), most)
	}
	if _, err := (&prefixTable{prefixLayout: l}).Compare(&mapOf{pages: pages}); err != nil {
		t.Error(err)
	}
}

// All chunks may say that their ranges lie in one place, and how many these are: that is believed once.
func TestRangesThatAllChunksShare(t *testing.T) {
	for _, l := range prefixLayouts {
		pages := make([]bpf.PrefixPage, l.chunkPages()+1)
		at := uint32(l.chunks())
		for page := range l.chunkPages() {
			for i := range pages[page].Words {
				pages[page].Words[i] = at | bpf.PrefixSplit
			}
		}
		pages[l.chunkPages()].Words[0] = 1<<31 - 1
		l.wantBounded(t, pages)
	}
}

// A search takes as many steps as the longest chunk of a host's capacity needs.
func TestStepsAreEnoughForTheCapacity(t *testing.T) {
	f, _ := reflect.TypeFor[config.Capacity]().FieldByName("Prefixes6")
	_, after, _ := strings.Cut(f.Tag.Get("jsonschema"), "maximum=")
	text, _, _ := strings.Cut(after, ",")
	if most, err := strconv.Atoi(text); err != nil || 2*most+1 > 1<<layout6.steps {
		t.Errorf("%d rows (%v) make more ranges than %d steps tell apart", most, err, layout6.steps)
	}
	if 1<<layout4.keyBits > 1<<layout4.steps {
		t.Error("a chunk of IPv4 has more addresses than its steps tell apart")
	}
}

// From the length of a map that fits its rows follows how many it has at the least.
func TestRowsThatALengthNeeds(t *testing.T) {
	fitting := 0
	for _, m := range Maps() {
		if m.fitted == nil {
			continue
		}
		fitting++
		for _, n := range []int{0, 1, 1000, 100_000} {
			if size := m.fitted(n); m.Least(size) > n || m.Least(size+1) <= n {
				t.Errorf("%s of %d entries, which %d rows may need: at least %d rows, and %d with one more", m.Name, size, n,
					m.Least(size), m.Least(size+1))
			}
		}
	}
	if fitting != 4 || tcpMap.Least(1000) != 0 {
		t.Errorf("%d maps fit their rows", fitting)
	}
}

// imageOf compiles a bundle for the host that everybody has.
func imageOf(t *testing.T, b *config.Bundle) *Image {
	t.Helper()
	host, err := HostFile(config.DefaultHost(), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err := Bundle(b, host, 1, testNow())
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// What differs within a row is named by itself, and a row by what was written.
func TestDifferencesWithinARow(t *testing.T) {
	b := &config.Bundle{Version: 1, Name: "b", Rules: []config.Rule{{ID: "r", Score: 90}}}
	for _, row := range []struct{ want, got, where string }{
		{"10.0.0.0/8", "10.1.2.3/32", "prefixes_v4 10.1.2.3/32"}, {"10.0.0.0/8", "10.64.0.0/18", "prefixes_v4 10.64.0.0/18"},
		{"10.0.0.0/8", "10.0.0.0/9", "prefixes_v4 10.0.0.0/9"},
		{"2001:db8::/32", "2001:db8::/48", "prefixes_v6 2001:db8::/48"},
		{"::/0", "", "prefixes_v6 ::/0"}, {"2000::/3", "", "prefixes_v6 2000::/3"},
		{"0.0.0.0/0", "", "prefixes_v4 0.0.0.0/0"},
	} {
		table := func(prefixes ...string) *prefixTable {
			b.Rules = []config.Rule{{ID: "r", Score: 90}, {ID: "other", Score: 80}}
			b.Prefixes = nil
			for i, p := range prefixes {
				b.Prefixes = append(b.Prefixes, config.PrefixList{List: "l", Rule: b.Rules[i].ID,
					Entries: []netip.Prefix{netip.MustParsePrefix(p)}})
			}
			img := imageOf(t, b)
			name := bpf.DataplaneMapPrefixes4
			if strings.Contains(row.want, ":") {
				name = bpf.DataplaneMapPrefixes6
			}
			return img.features[name].(*prefixTable)
		}
		got := &mapOf{}
		if row.got != "" {
			got.pages = table(row.want, row.got).pages
		}
		drifts, err := table(row.want).Compare(got)
		if err != nil || len(drifts) != 1 || drifts[0].Where != row.where {
			t.Errorf("%s, and in the kernel %q: %+v, %v", row.want, row.got, drifts, err)
		}
	}
}

// Each IPv6 prefix lies in the one map that knows it, and those around 2000::/3 also in pieces beside it.
func TestWhereIPv6PrefixesLie(t *testing.T) {
	b := &config.Bundle{Version: 1, Name: "b", Rules: []config.Rule{{ID: "r", Score: 90}}}
	for _, row := range []struct {
		prefix     string
		table, far int
		hosts      int
	}{
		{"2001:db8::/32", 1, 0, 0}, {"2000::/3", 1, 0, 0}, {"2001:db8::/64", 1, 0, 0}, {"2001:db8::/65", 0, 1, 0},
		{"2001:db8::/127", 0, 1, 0}, {"2001:db8::1/128", 0, 0, 1}, {"fe80::/10", 0, 1, 0}, {"fe80::1/128", 0, 0, 1},
		{"::/0", 1, 3, 0}, {"::/1", 1, 2, 0}, {"::/2", 1, 1, 0}, {"4000::/2", 0, 1, 0},
	} {
		b.Prefixes = []config.PrefixList{{List: "l", Rule: "r", Entries: []netip.Prefix{netip.MustParsePrefix(row.prefix)}}}
		img := imageOf(t, b)
		for name, want := range map[string]int{bpf.DataplaneMapPrefixes6: row.table, bpf.DataplaneMapPrefixes6Far: row.far,
			bpf.DataplaneMapPrefixes6Hosts: row.hosts} {
			if got := img.features[name].Len(); got != want {
				t.Errorf("%s: %d rows in %s, want %d", row.prefix, got, name, want)
			}
		}
		if img.generation.Prefixes6 != 1 {
			t.Errorf("%s counts as %d rows", row.prefix, img.generation.Prefixes6)
		}
	}
}
