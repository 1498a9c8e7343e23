// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// onlyIdentity ignores what tells about the loading.
var onlyIdentity = cmp.Options{compareAddresses,
	cmpopts.IgnoreFields(Bundle{}, "Warnings", "Compiled", "OmittedProtected", "OmittedReserved", "Carved", "Lists")}

func TestCanonicalComesBack(t *testing.T) {
	_, example := loadExamples(t)
	for name, b := range map[string]*Bundle{
		"example": example,
		"minimal": mustBundle(t, minimalBundle, nil),
		"empty":   mustBundle(t, "version: 1\nname: empty\n", nil),
		"clients": mustBundle(t, clientBundle, nil),
		"texts": mustBundle(t, "version: 1\nname: t\nrules:\n"+
			"- {id: a, label: x, score: -7, note: \"<&> \\u2028 \\\"q\\\" é\", expires: 2031-02-03T04:05:06.789+07:00}\n"+
			"intent: {expects: {new_blocks: 0.25%, by: [x]}}\n",
			nil),
	} {
		data := Canonical(b)
		got, err := ParseCanonical(data)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
			continue
		}
		if diff := cmp.Diff(b, got, onlyIdentity); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
	}
}

// The digest of the example is written down: when it changes, every host sees a new bundle, and that must be meant.
func TestDigestStays(t *testing.T) {
	got := mustBundle(t, minimalBundle, nil)
	const form = `{"version":1,"name":"test","rules":[{"id":"bad","label":"bad","score":100}],` +
		`"prefixes":[{"list":"own","rule":"bad","third_party":false,"entries":["198.51.100.0/24"]}],"tcp":[],"reasons":[],"policy":{}}` + "\n"
	if diff := cmp.Diff(form, string(Canonical(got))); diff != "" {
		t.Errorf("canonical form (-want +got):\n%s", diff)
	}
	const digest = "sha256:0da1b532105254adce66a51c704d46ed275b44cec6f3c526cffce21522f67d74"
	if got.Digest.String() != digest {
		t.Errorf("digest is %s, want %s", got.Digest, digest)
	}
	if got.Digest.Short() != digest[7:19] {
		t.Errorf("short digest is %s, want %s", got.Digest.Short(), digest[7:19])
	}
	parsed, err := ParseDigest(got.Digest.String())
	if err != nil || parsed != got.Digest {
		t.Errorf("digest read back is %s, %v", parsed, err)
	}
	for _, bad := range []string{"", digest[7:], digest + "0", strings.ToUpper(digest),
		"sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q is taken for a digest", bad)
		}
	}
}

// Every file that is cut off or has one byte changed is refused: this is what the state directory relies on.
func TestCanonicalRefusesDamage(t *testing.T) {
	_, b := loadExamples(t)
	data := Canonical(b)
	for i := range data {
		if _, err := ParseCanonical(data[:i]); !errors.Is(err, ErrNotCanonical) {
			t.Fatalf("cut off at byte %d: %v, want ErrNotCanonical", i, err)
		}
		changed := bytes.Clone(data)
		changed[i] ^= 1
		if got, err := ParseCanonical(changed); err == nil && got.Digest == b.Digest {
			t.Fatalf("byte %d changed, and the digest is the same", i)
		}
	}
	for name, text := range map[string]string{
		"other order": `{"name":"t","version":1,"rules":[],"prefixes":[],"tcp":[],"reasons":[],"policy":{}}` + "\n",
		"blanks":      `{"version": 1,"name":"t","rules":[],"prefixes":[],"tcp":[],"reasons":[],"policy":{}}` + "\n",
		"more":        `{"version":1,"name":"t","rules":[],"prefixes":[],"tcp":[],"reasons":[],"policy":{}}` + "\n\n",
		"version":     `{"version":2,"name":"t","rules":[],"prefixes":[],"tcp":[],"reasons":[],"policy":{}}` + "\n",
		"lost rule":   `{"version":1,"name":"t","rules":[],"prefixes":[],"tcp":[{"rule":"a","muonfp":"1:::"}],"reasons":[],"policy":{}}` + "\n",
		"unsorted": strings.Replace(
			string(
				Canonical(mustBundle(t, strings.Replace(minimalBundle, "198.51.100.0/24", "198.51.100.0/24, 203.0.113.0/24", 1),
					nil))), `"198.51.100.0/24","203.0.113.0/24"`, `"203.0.113.0/24","198.51.100.0/24"`, 1),
		"host bits": strings.Replace(string(Canonical(mustBundle(t, minimalBundle, nil))), "100.0/24", "100.1/24", 1),
		"unsorted ja4": strings.NewReplacer(`"t13i1516h2`, `"t13d1516h2`, `"t13d1516h2`, `"t13i1516h2`).
			Replace(string(Canonical(mustBundle(t, clientBundle, nil)))),
		"lost ja4": strings.Replace(string(Canonical(mustBundle(t, clientBundle, nil))), `"rule":"a","match"`,
			`"rule":"x","match"`, 1),
		"lost p0f": strings.Replace(string(Canonical(mustBundle(t, clientBundle, nil))), `"rule":"a","signature"`,
			`"rule":"x","signature"`, 1),
		"observed ttl": strings.Replace(string(Canonical(mustBundle(t, clientBundle, nil))), `"4:64:`, `"4:54+10:`, 1),
		"unknown name": `{"version":1,"name":"t","rules":[],"prefixes":[],"tcp":[],"reasons":[],"policy":{},"x":1}` + "\n",
	} {
		if _, err := ParseCanonical([]byte(text)); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s: %v, want ErrNotCanonical", name, err)
		}
	}
}

// Whatever the order of rows, their comments and the files they stand in: the same bytes.
func TestCanonicalIsIndependentOfOrder(t *testing.T) {
	const seed = 20251118
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	var want *Bundle
	for round := range 200 {
		text, list := shuffledBundle(r)
		b, err := ParseBundle("bundle.yaml", []byte(text), files("one", list), testHost(), testOptions)
		if err != nil {
			t.Fatalf("round %d:\n%v\n%s", round, err, text)
		}
		if want == nil {
			want = b
			continue
		}
		if b.Digest != want.Digest {
			t.Fatalf("round %d (-first +this):\n%s", round, cmp.Diff(string(Canonical(want)), string(Canonical(b))))
		}
		if diff := cmp.Diff(want, b, onlyIdentity); diff != "" {
			t.Fatalf("round %d (-first +this):\n%s", round, diff)
		}
	}
}

// shuffledBundle writes one fixed bundle in an order, a spelling and a split into blocks and files of its own.
func shuffledBundle(r *rand.Rand) (text, list string) {
	shuffle := func(rows []string) []string {
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		return rows
	}
	var rules, tcp, ja4, p0f, reasons, pairs []string
	for i := range 6 {
		rules = append(rules, fmt.Sprintf("  - {score: %d, id: r%d, label: l%d}\n", 5+i, i, i%3))
		tcp = append(tcp, fmt.Sprintf("    - {muonfp: '%d:2:1460:', rule: r%d}\n", 1000+i, i))
		ja4 = append(ja4, fmt.Sprintf("    - {match: t13d1516h2_*_02713d6af86%d, rule: r%d, stable: %v}\n", i, i, i%2 == 0))
		p0f = append(p0f, fmt.Sprintf("    - {signature: '*:64:0:*:*,*:?%d::0', rule: r%d}\n", 100+i, i)) // six layouts
		pairs = append(pairs, fmt.Sprintf("    - {tls: %s, rule: r%d, tcp: %s}\n", TLSFamilies()[i], i, TCPFamilies()[i%2]))
		reasons = append(reasons, fmt.Sprintf("    - {reason: %s, rule: r%d}\n", ScoreableReasons()[i], i))
	}
	var blocks, lines []string
	for i := range 30 {
		rows := []string{fmt.Sprintf("198.51.%d.0/24", i), fmt.Sprintf("198.51.%d.%d/24", i, r.IntN(256)),
			fmt.Sprintf("'::ffff:198.51.%d.0/120'", i)}
		row := rows[r.IntN(len(rows))]
		if i%5 == 0 && r.IntN(2) == 0 { // all of rule r0 may stand in the file
			lines = append(lines, fmt.Sprintf("198.51.%d.0/24 # x\n", i))
			continue
		}
		blocks = append(blocks,
			fmt.Sprintf("    - {list: own, rule: r%d, entries: [%s]} # comment %d\n", i%5, row, r.IntN(100)))
	}
	if len(lines) > 0 {
		blocks = append(blocks, "    - {file: one, list: own, rule: r0}\n")
	}
	sections := shuffle([]string{
		"version: 1\n", "name: t\n", "rules:\n" + strings.Join(shuffle(rules), ""),
		"features:\n" + strings.Join(shuffle([]string{
			"  prefixes:\n" + strings.Join(shuffle(blocks), ""), "  tcp:\n" + strings.Join(shuffle(tcp), ""),
			"  ja4:\n" + strings.Join(shuffle(ja4), ""), "  p0f:\n" + strings.Join(shuffle(p0f), ""),
			"  reasons:\n" + strings.Join(shuffle(reasons), ""), "  pairs:\n" + strings.Join(shuffle(pairs), ""),
		}), ""),
		"policy: {services: {web: {drop: 80}}, default: {drop: never}}\n",
		"intent: {expects: {by: [l2, l0], new_blocks: 5.0%}}\n",
	})
	return strings.Join(sections, ""), strings.Join(shuffle(lines), "")
}
