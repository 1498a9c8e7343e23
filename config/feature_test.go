// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/signature"
)

// Each row is a bundle and all of its faults: code, file, line and column.
func TestClientFeatureFaults(t *testing.T) {
	const ja4, p0f = rulesAB + "  ja4:\n", rulesAB + "  p0f:\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"ja4",
			ja4 + "    - {rule: a, match: t13d1516h2}\n    - {rule: c, match: t13d1516h2_*_*}\n" +
				"    - {rule: a}\n    - {match: q13d1516h2_*_*}\n" +
				"    - {rule: a, match: t13d1516h2_*_*, stable: 1}\n" +
				"    - {rule: a, match: [t13d1516h2_*_*]}\n",
			[]string{"syntax bundle.yaml:8:24", "reference bundle.yaml:9:14", "missing bundle.yaml:10:7",
				"missing bundle.yaml:11:7", "unsupported bundle.yaml:11:15", "duplicate bundle.yaml:12:24",
				"type bundle.yaml:12:48", "type bundle.yaml:13:24"}},
		{"ja4 twice",
			ja4 + "    - {rule: a, match: t13d1516h2_*_*}\n    - {rule: b, match: t13d1516h2_*_*}\n" +
				"    - {rule: b, match: t13d1516h2_*_*, stable: true}\n" +
				"    - {rule: a, match: t13d1516h2_*_*, stable: true}\n",
			[]string{"duplicate bundle.yaml:9:24", "duplicate bundle.yaml:11:24"}},
		{"p0f",
			p0f + "    - {rule: a, signature: '4:64'}\n    - {rule: c, signature: '4:64:0:*:1,0:::0'}\n" +
				"    - {rule: a}\n    - {rule: a, signature: 7}\n",
			[]string{"syntax bundle.yaml:8:28", "reference bundle.yaml:9:14", "missing bundle.yaml:10:7",
				"syntax bundle.yaml:11:28"}},
		{"p0f twice",
			p0f + "    - {rule: a, signature: '4:64:0:*:1,0:::0'}\n" +
				"    - {rule: b, signature: '4:60+4:0:*:1,0:::0'}\n" +
				"    - {rule: b, signature: '*:64:0:*:1,0:::0'}\n",
			[]string{"duplicate bundle.yaml:9:28"}},
	} {
		_, err := ParseBundle("bundle.yaml", []byte(c.text), nil, testHost(), testOptions)
		if diff := cmp.Diff(c.want, briefs(mustFaults(t, err).List)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", c.name, diff, err)
		}
	}
}

func signatureRows(version string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "    - {rule: a, signature: '%s:64:0:*:%d,0:mss:ecn:0'}\n", version, i)
	}
	return b.String()
}

// The dataplane tries eight signatures; the ninth would never count, so a person must choose.
func TestNineSignaturesOfOneLayout(t *testing.T) {
	const head = rulesAB + "  p0f:\n"
	mustBundle(t, head+signatureRows("4", 0, 8)+signatureRows("6", 0, 8), nil)
	mustBundle(t, head+signatureRows("*", 0, 8)+strings.ReplaceAll(signatureRows("*", 0, 8), "mss:", "mss,eol+1:"), nil)

	_, err := ParseBundle("bundle.yaml", []byte(head+signatureRows("4", 0, 5)+signatureRows("*", 10, 14)), nil,
		testHost(), testOptions)
	f := mustFaults(t, err)
	if diff := cmp.Diff([]string{"capacity bundle.yaml:16:28"}, briefs(f.List)); diff != "" {
		t.Fatalf("five of IPv4 and four of both (-want +got):\n%s\n%v", diff, err)
	}
	for _, want := range []string{`9 signatures for IPv4 with the options "mss"`, "4:64:0:*:0,0:mss:ecn:0 (line 8)",
		"*:64:0:*:13,0:mss:ecn:0 (line 16)", "at most 8"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the fault does not say %q:\n%v", want, err)
		}
	}
	if n := strings.Count(f.List[0].Problem, "(line "); n != 9 {
		t.Errorf("the fault names %d signatures, want all nine:\n%v", n, err)
	}
	_, err = ParseBundle("bundle.yaml", []byte(head+signatureRows("*", 0, 9)), nil, testHost(), testOptions)
	if f := mustFaults(t, err); f.Total != 2 {
		t.Errorf("nine of both versions: %d faults, want one each:\n%v", f.Total, err)
	}
}

func TestJA4NeedsATLSService(t *testing.T) {
	host := testHost()
	host.Services[0].Kind = KindTCP
	b, err := ParseBundle("bundle.yaml", []byte(clientBundle), nil, host, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unused bundle.yaml:8:5"}, briefs(b.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestFingerprintCapacities(t *testing.T) {
	host := testHost()
	host.Capacity.JA4s, host.Capacity.TCPSignatures = 3, 4
	_, err := ParseBundle("bundle.yaml", []byte(clientBundle), nil, host, testOptions)
	want := []string{"capacity bundle.yaml:8:5", "capacity bundle.yaml:13:5"}
	if diff := cmp.Diff(want, briefs(mustFaults(t, err).List)); diff != "" {
		t.Errorf("four JA4 for three places, five signatures for four (-want +got):\n%s\n%v", diff, err)
	}
}

// The first signature that fits counts, so their order is part of a bundle, but only within a layout.
func TestOrderOfSignaturesCounts(t *testing.T) {
	const a, b, other = "{rule: a, signature: '4:64:0:*:*,0:mss::0'}", "{rule: b, signature: '4:64:0:*:*,*:mss::0'}",
		"{rule: a, signature: '4:64:0:0:*,0:::0'}"
	text := func(rows ...string) string { return rulesAB + "  p0f: [" + strings.Join(rows, ", ") + "]\n" }
	one, two := mustBundle(t, text(a, b, other), nil), mustBundle(t, text(b, a, other), nil)
	if one.Digest == two.Digest {
		t.Error("two signatures of one layout changed places, and the digest is the same")
	}
	if d := Change(one, two); d.Len() != 1 || !d.Features[0].Order {
		t.Errorf("the difference is %+v, want the order", d)
	}
	if three := mustBundle(t, text(other, a, b), nil); three.Digest != one.Digest {
		t.Error("signatures of two layouts changed places, and the digest is another")
	}
}

// One service may have no reset; what the default says about it is left out and said.
func TestResetNeedsALocalSocket(t *testing.T) {
	host := testHost()
	host.Services = append(host.Services,
		Service{Name: "quic", Addresses: []Address{{}}, Port: 443, Kind: KindQUIC, Local: true},
		Service{Name: "far", Addresses: []Address{{}}, Port: 444, Kind: KindTLS})
	parse := func(policy string) (*Bundle, error) {
		return ParseBundle("bundle.yaml",
			[]byte(rulesAB+own+"    - {list: b, rule: b, entries: [198.51.100.0/24]}\npolicy:\n"+policy), nil, host, testOptions)
	}
	b, err := parse("  default: {drop: 80, reset: 90}\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unused bundle.yaml:11:30", "unused bundle.yaml:11:30"}, briefs(b.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	_, err = parse(
		"  services:\n    web: {drop: 80, reset: 90}\n    quic: {drop: 80, reset: 90}\n    far: {drop: 80, reset: 90}\n")
	if diff := cmp.Diff([]string{"reference bundle.yaml:13:29", "reference bundle.yaml:14:28"},
		briefs(mustFaults(t, err).List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
	}
	if b, err = parse("  services:\n    web: {drop: never, reset: 90}\n    quic: {drop: 80}\n"); err != nil ||
		len(b.Warnings) > 0 || b.PolicyFor("web").Blocks() != 90 {
		t.Errorf("reset where it can be: %v, %v", b, err)
	}
}

func FuzzP0F(f *testing.F) {
	for _, s := range []string{"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0",
		"4:54+10:0:1460:65535,0:mss,nop,nop,sok:df:0", "*:64-:0:265:%512,0:mss,sok,ts:ack+:0",
		"6:128:0:*:mtu*4,8:mss,?77,eol+3:flow:*", ":::::::", "4:1:0:0:0,0:::0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := signature.ParseP0F(s)
		if err != nil {
			return
		}
		again, err := signature.ParseP0F(sig.String())
		if err != nil || again.String() != sig.String() || !reflect.DeepEqual(sig, again) {
			t.Fatalf("%q is read as %q and that as %q, %v", s, sig, again, err)
		}
	})
}
