// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseP0F(t *testing.T) {
	for text, want := range map[string]string{ // "" for itself
		"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0":          "",
		"*:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0":          "",
		"4:54+10:0:1460:65535,0:mss,nop,nop,sok:df:0":           "4:64:0:1460:65535,0:mss,nop,nop,sok:df:0",
		"4:64+0:0:0:65535,0::df,id+:0":                          "4:64:0:0:65535,0::df,id+:0",
		"*:64-:0:265:%512,0:mss,sok,ts:seq-,ack+,uptr+:0":       "*:64-:0:265:%512,0:mss,sok,ts:seq-,ack+,uptr+:0",
		"6:128:0:*:mtu*4,8:mss,nop,ws,nop,nop,sok:flow:*":       "",
		"4:255:8:536:*,*:mss,?77,sack,eol+3:opt+,0+,bad:+":      "4:255:8:536:*,*:mss,?77,sack,eol+3:0+,opt+,bad:+",
		"4:1:0:0:0,0::pushf+,ecn,id-:0":                         "4:1:0:0:0,0::id-,ecn,pushf+:0",
		"4:64:0:*:*,15:mss,ws,ts:ts2+,ts1-,exws:0":              "4:64:0:*:*,15:mss,ws,ts:ts1-,ts2+,exws:0",
		"4:64:0:*:1,0:sack,sack,sack,sack,sack:bad:0":           "", // what cannot be read takes less room than it says
		"4:64:0:0:1,0:" + strings.Repeat("nop,", 23) + "nop::0": "",
	} {
		if want == "" {
			want = text
		}
		s, err := ParseP0F(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is read as %q, %v; want %q", text, s, err, want)
		}
		if again, err := ParseP0F(want); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q comes back as %+v, %v; want %+v", want, again, err, s)
		}
	}
}

func TestParseP0FRefuses(t *testing.T) {
	// A valid signature with one field replaced.
	fields := []string{"4", "64", "0", "*", "mss*20,7", "mss,sok,ts,nop,ws", "df,id+", "0"}
	for _, c := range []struct {
		field       int
		value, want string
	}{
		{0, "5", "IP version"}, {0, "", "IP version"}, {0, "46", "IP version"}, {0, "6", "are IPv4's"},
		{1, "0", "is none"}, {1, "256", "over 255"}, {1, "200+56", "is none"}, {1, "64+?", "nobody knows"}, {1, "54+10-", "is none"}, {1, "064", "no decimal"}, {1, "", "ttl"}, {1, "64+", "distance"},
		{2, "3", "multiple of 4"}, {2, "44", "over 40"}, {2, "*", "no decimal"},
		{3, "65536", "over 65535"}, {3, "-1", "no decimal"}, {3, "99", "at least 100"}, {3, "0", "at least 100"},
		{4, "mss*20", "scale"}, {4, "mss*0,7", "multiple"}, {4, "mss*1001,7", "over 1000"}, {4, "%1,7", "multiple"}, {4, "65536,7", "over 65535"}, {4, "mss20,7", "no decimal"}, {4, "1,256", "over 255"}, {4, "1,15", "exws"}, {4, ",7", "window"},
		{5, "mss,eol+1,nop,ws", "nothing can follow"}, {5, "mss,sok,ts,nop,wss", "no TCP option"}, {5, "mss,ws,?2", "written mss"}, {5, "mss,ws,?256", "over 255"}, {5, "mss,ws,eol", "no TCP option"}, {5, "mss,,ws", "no TCP option"},
		{5, "mss,sok", "a scale needs ws"}, {5, "ws", "need mss"}, {5, "mss,ws,sack,sack,sack,sack", "take 47 bytes"}, {5, "mss,ws,eol+34", "take 42 bytes"}, {5, strings.Repeat("nop,", 24) + "ws", "25 TCP options"},
		{6, "df,df", "twice"}, {6, "fd", "no quirk"}, {6, "id+", "needs df"}, {6, "df,id-", "exclude"}, {6, "flow", "IPv6's"}, {6, "uptr+,urgf+", "exclude"}, {6, "ack-", "a SYN has none"}, {6, "exws", "above 14"}, {6, "opt+", "after eol"}, {6, "df,", "no quirk"},
		{7, "1", "payload"}, {7, "", "payload"}, {7, "0:", "has 9"},
	} {
		with := append([]string(nil), fields...)
		with[c.field] = c.value
		text := strings.Join(with, ":")
		if s, err := ParseP0F(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, s, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"6:64:4:*:1,0:::0": "the version must be 4", "*:64:4:*:1,0:::0": "the version must be 4", "": "has 1",
		"4:64:0:1460:1,0:::0": "an mss needs", "4:64:0:*:1,0::ts1-:0": "need ts", "4:64:0:*:1,*::exws:0": "needs ws",
	} {
		if s, err := ParseP0F(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, s, err, want)
		}
	}
}

// Each row is a bundle and all of its faults: code, file, line and column.
func TestClientFeatureFaults(t *testing.T) {
	const ja4, p0f = rulesAB + "  ja4:\n", rulesAB + "  p0f:\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"ja4", ja4 + "    - {rule: a, match: t13d1516h2}\n    - {rule: c, match: t13d1516h2_*_*}\n    - {rule: a}\n    - {match: q13d1516h2_*_*}\n    - {rule: a, match: t13d1516h2_*_*, stable: 1}\n    - {rule: a, match: [t13d1516h2_*_*]}\n",
			[]string{"syntax bundle.yaml:8:24", "reference bundle.yaml:9:14", "missing bundle.yaml:10:7", "missing bundle.yaml:11:7", "unsupported bundle.yaml:11:15", "duplicate bundle.yaml:12:24", "type bundle.yaml:12:48", "type bundle.yaml:13:24"}},
		{"ja4 twice", ja4 + "    - {rule: a, match: t13d1516h2_*_*}\n    - {rule: b, match: t13d1516h2_*_*}\n    - {rule: b, match: t13d1516h2_*_*, stable: true}\n    - {rule: a, match: t13d1516h2_*_*, stable: true}\n",
			[]string{"duplicate bundle.yaml:9:24", "duplicate bundle.yaml:11:24"}},
		{"p0f", p0f + "    - {rule: a, signature: '4:64'}\n    - {rule: c, signature: '4:64:0:*:1,0:::0'}\n    - {rule: a}\n    - {rule: a, signature: 7}\n",
			[]string{"syntax bundle.yaml:8:28", "reference bundle.yaml:9:14", "missing bundle.yaml:10:7", "syntax bundle.yaml:11:28"}},
		{"p0f twice", p0f + "    - {rule: a, signature: '4:64:0:*:1,0:::0'}\n    - {rule: b, signature: '4:60+4:0:*:1,0:::0'}\n    - {rule: b, signature: '*:64:0:*:1,0:::0'}\n",
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

	_, err := ParseBundle("bundle.yaml", []byte(head+signatureRows("4", 0, 5)+signatureRows("*", 10, 14)), nil, testHost(), testOptions)
	f := mustFaults(t, err)
	if diff := cmp.Diff([]string{"capacity bundle.yaml:16:28"}, briefs(f.List)); diff != "" {
		t.Fatalf("five of IPv4 and four of both (-want +got):\n%s\n%v", diff, err)
	}
	for _, want := range []string{`9 signatures for IPv4 with the options "mss"`, "4:64:0:*:0,0:mss:ecn:0 (line 8)", "*:64:0:*:13,0:mss:ecn:0 (line 16)", "at most 8"} {
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
	const a, b, other = "{rule: a, signature: '4:64:0:*:*,0:mss::0'}", "{rule: b, signature: '4:64:0:*:*,*:mss::0'}", "{rule: a, signature: '4:64:0:0:*,0:::0'}"
	text := func(rows ...string) string { return rulesAB + "  p0f: [" + strings.Join(rows, ", ") + "]\n" }
	one, two := mustBundle(t, text(a, b, other), nil), mustBundle(t, text(b, a, other), nil)
	if one.Digest == two.Digest {
		t.Error("two signatures of one layout changed places, and the digest is the same")
	}
	if d := Change(one, two); d.Len() != 1 || !d.P0FOrder {
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
		return ParseBundle("bundle.yaml", []byte(rulesAB+own+"    - {list: b, rule: b, entries: [198.51.100.0/24]}\npolicy:\n"+policy), nil, host, testOptions)
	}
	b, err := parse("  default: {drop: 80, reset: 90}\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unused bundle.yaml:11:30", "unused bundle.yaml:11:30"}, briefs(b.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	_, err = parse("  services:\n    web: {drop: 80, reset: 90}\n    quic: {drop: 80, reset: 90}\n    far: {drop: 80, reset: 90}\n")
	if diff := cmp.Diff([]string{"reference bundle.yaml:13:29", "reference bundle.yaml:14:28"}, briefs(mustFaults(t, err).List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
	}
	if b, err = parse("  services:\n    web: {drop: never, reset: 90}\n    quic: {drop: 80}\n"); err != nil || len(b.Warnings) > 0 || b.PolicyFor("web").Blocks() != 90 {
		t.Errorf("reset where it can be: %v, %v", b, err)
	}
}

func FuzzP0F(f *testing.F) {
	for _, s := range []string{"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0", "4:54+10:0:1460:65535,0:mss,nop,nop,sok:df:0", "*:64-:0:265:%512,0:mss,sok,ts:ack+:0", "6:128:0:*:mtu*4,8:mss,?77,eol+3:flow:*", ":::::::", "4:1:0:0:0,0:::0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := ParseP0F(s)
		if err != nil {
			return
		}
		again, err := ParseP0F(sig.String())
		if err != nil || again.String() != sig.String() || !reflect.DeepEqual(sig, again) {
			t.Fatalf("%q is read as %q and that as %q, %v", s, sig, again, err)
		}
	})
}
