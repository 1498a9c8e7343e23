// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

const (
	chromeJA4 = "t13d1516h2_8daaf6152771_02713d6af862"
	linuxSYN  = "*:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"
)

func mustJA4(t *testing.T, rule, match string, stable bool) config.JA4Feature {
	t.Helper()
	m, err := signature.ParseJA4(match)
	if err != nil {
		t.Fatal(err)
	}
	return config.JA4Feature{Rule: rule, Match: m, Stable: stable}
}

func mustP0F(t *testing.T, rule, text string) config.P0FFeature {
	t.Helper()
	s, err := signature.ParseP0F(text)
	if err != nil {
		t.Fatal(err)
	}
	return config.P0FFeature{Rule: rule, Signature: s}
}

// clientsBundle has features of all kinds for two rules.
func clientsBundle(t *testing.T) *config.Bundle {
	b := testBundle("198.51.100.0/24")
	b.Rules = append(b.Rules, config.Rule{ID: "odd", Label: "odd", Score: 30})
	b.Policy = map[string]config.Policy{config.DefaultPolicy: {Drop: 80, Reset: 95}}
	b.JA4 = []config.JA4Feature{
		mustJA4(t, "bad", chromeJA4, false), mustJA4(t, "odd", chromeJA4, true),
		mustJA4(t, "odd", "*_8daaf6152771_02713d6af862", false), mustJA4(t, "bad", "t13d1516h2_*_*", true),
	}
	b.P0F = []config.P0FFeature{
		mustP0F(t, "bad", linuxSYN), mustP0F(t, "odd", "4:64:0:*:*,*:mss,sok,ts,nop,ws:df:*"),
		mustP0F(t, "odd", "6:128-:0:1440:%8192,0:mss,nop,eol+1:flow,seq-:+"),
	}
	return b
}

// rowsIn reads a map of a slot back from the kernel.
func rowsOf[K comparable, V any](t *testing.T, d *Dataplane, name string) map[K]V {
	t.Helper()
	m, err := d.innerMap(name, d.Control().Stable)
	if err != nil || m == nil {
		t.Fatalf("open %s: %v, %v", name, m, err)
	}
	defer func() { _ = m.Close() }()
	got := map[K]V{}
	if err := kernel.EachRow(m, func(k K, v V) { got[k] = v }); err != nil {
		t.Fatal(err)
	}
	return got
}

func ten(s string) (a [10]uint8) { copy(a[:], s); return a }

func TestJA4sAreInTheKernel(t *testing.T) {
	d := openTest(t, Options{})
	img := publish(t, d, testHost(), clientsBundle(t))
	b, c := [6]uint8{0x8d, 0xaa, 0xf6, 0x15, 0x27, 0x71}, [6]uint8{0x02, 0x71, 0x3d, 0x6a, 0xf8, 0x62}
	const bad, odd = 0, 1
	want := map[bpf.JA4Key]uint16{
		{Form: 7, A: ten("t13d1516h2"), B: b, C: c}:  bad,
		{Form: 15, A: ten("t13d1516h2"), B: b, C: c}: odd,
		{Form: 6, B: b, C: c}:                        odd,
		{Form: 9, A: ten("t13d1516h2")}:              bad,
	}
	got := map[bpf.JA4Key]uint16{}
	for key, head := range rowsOf[bpf.JA4Key, uint32](t, d, bpf.DataplaneMapJa4s) {
		got[key] = img.Node(head).Rule
	}
	if !maps.Equal(want, got) {
		t.Errorf("rows are %v, want %v", got, want)
	}
	g := img.Generation()
	if g.Ja4s != 4 || g.Ja4Forms != 1<<7|1<<15|1<<6|1<<9 {
		t.Errorf("generation counts %d JA4s in forms %b", g.Ja4s, g.Ja4Forms)
	}
	if p := g.Policies[1]; p.Drop != 80 || p.Reset != 95 {
		t.Errorf("policy of the local tls service is %+v, want drop 80 and reset 95", p)
	}
	if p := g.Policies[2]; p.Drop != 80 || p.Reset != 0 {
		t.Errorf("policy of the udp service is %+v, want drop 80 and no reset", p)
	}
	if drifts, err := d.VerifyGeneration(d.Control().Stable, img); err != nil || len(drifts) > 0 {
		t.Errorf("drift of what was just built: %v, %v", drifts, err)
	}
	_, other := compiled(t, d, testHost(), testBundle("198.51.100.0/24"))
	drifts, err := d.VerifyGeneration(d.Control().Stable, other)
	if err != nil ||
		!slices.ContainsFunc(drifts, func(d compile.Drift) bool { return d.Where == "ja4s stable t13d1516h2_*_*" }) {
		t.Errorf("drift to a bundle without JA4s: %v, %v", drifts, err)
	}
}

func TestSignaturesAreInTheKernel(t *testing.T) {
	d := openTest(t, Options{})
	img := publish(t, d, testHost(), clientsBundle(t))
	const bad, odd = 0, 1
	linux := func(version uint8) bpf.TCPLayout {
		return bpf.TCPLayout{Version: version, KindCount: 5, Kinds: [24]uint8{2, 4, 8, 1, 3}}
	}
	const (
		df, id, flow, seq = uint32(bpf.QuirkDF), uint32(bpf.QuirkID), uint32(bpf.QuirkFlow), uint32(bpf.QuirkZeroSeq)
		only4             = df | id | uint32(bpf.QuirkZeroID) | uint32(bpf.QuirkReserved)
		payload           = uint32(bpf.QuirkPayload)
		all               = uint32(bpf.QuirkBadOptions)<<1 - 1
		anyMSS, anyScale  = uint8(bpf.SignatureAnyMSS), uint8(bpf.SignatureAnyScale)
	)
	want := map[bpf.TCPLayout][]bpf.TCPSignature{
		linux(4): {
			{Head: bad, Quirks: df | id, QuirksMask: all&^flow | payload, Window: 44, WindowKind: uint8(bpf.WindowMSS), Scale: 7,
				Ttl: 64, Flags: anyMSS},
			{Head: odd, Quirks: df, QuirksMask: all, Ttl: 64, Flags: anyMSS | anyScale | uint8(bpf.SignatureAnyPayload)},
		},
		linux(6): {
			{Head: bad, QuirksMask: all&^only4 | payload, Window: 44, WindowKind: uint8(bpf.WindowMSS), Scale: 7,
				Ttl: 64, Flags: anyMSS},
		},
		{Version: 6, KindCount: 3, EolPad: 1, Kinds: [24]uint8{2, 1, 0}}: {
			{Head: odd, Quirks: flow | seq | payload, QuirksMask: all | payload, Window: 8192,
				WindowKind: uint8(bpf.WindowModulo), Mss: 1440, Ttl: 128,
				Flags: uint8(bpf.SignatureRandomTTL)},
		},
	}
	got := map[bpf.TCPLayout][]bpf.TCPSignature{}
	for key, row := range rowsOf[bpf.TCPLayout, bpf.TCPSignatures](t, d, bpf.DataplaneMapTcpLayouts) {
		for _, c := range row.Candidates {
			if c.Head == 0 {
				if c != (bpf.TCPSignature{}) {
					t.Errorf("%s has an unused candidate %+v", compile.FormatLayout(key), c)
				}
				continue
			}
			c.Head = uint32(img.Node(c.Head).Rule)
			got[key] = append(got[key], c)
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b bpf.TCPSignature) bool { return a == b }),
		cmp.Comparer(func(a, b bpf.TCPLayout) bool { return a == b })); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if img.Generation().TcpSignatures != 3 {
		t.Errorf("generation counts %d signatures, want 3", img.Generation().TcpSignatures)
	}
	changed := clientsBundle(t)
	changed.P0F[1].Signature.TTL = 63
	_, other := compiled(t, d, testHost(), changed)
	drifts, err := d.VerifyGeneration(d.Control().Stable, other)
	if err != nil ||
		!slices.ContainsFunc(drifts, func(d compile.Drift) bool {
			return d.Where == `tcp_layouts IPv4 with the options "mss,sok,ts,nop,ws"`
		}) {
		t.Errorf("drift to a bundle with another ttl: %v, %v", drifts, err)
	}
}

// The numbers of config are those of the dataplane, though config does not import them.
func TestQuirksAndWindowsHaveTheDataplanesNumbers(t *testing.T) {
	for name, want := range map[string]bpf.DataplaneTcpQuirk{
		"df": bpf.QuirkDF, "df,id+": bpf.QuirkDF | bpf.QuirkID, "id-": bpf.QuirkZeroID,
		"ecn": bpf.QuirkECN, "0+": bpf.QuirkReserved, "seq-": bpf.QuirkZeroSeq, "ack+": bpf.QuirkACK,
		"uptr+": bpf.QuirkURGPointer, "urgf+": bpf.QuirkURG, "pushf+": bpf.QuirkPush, "ts1-": bpf.QuirkZeroTS,
		"ts2+": bpf.QuirkPeerTS, "opt+": bpf.QuirkAfterEOL, "exws": bpf.QuirkScale, "bad": bpf.QuirkBadOptions,
	} {
		s := mustP0F(t, "r", "4:64:0:*:*,*:mss,ws,ts,eol+1:"+name+":0").Signature
		if s.Quirks != signature.Quirks(want) {
			t.Errorf("%s is %x, want %x", name, s.Quirks, want)
		}
	}
	if got := signature.QuirksOf(6); got != signature.Quirks(bpf.QuirkFlow) {
		t.Errorf("IPv6's quirks are %x", got)
	}
	for text, want := range map[string]bpf.DataplaneTcpWindow{"*": bpf.WindowAny, "8192": bpf.WindowValue,
		"%2":    bpf.WindowModulo,
		"mss*2": bpf.WindowMSS, "mtu*2": bpf.WindowMTU} {
		if s := mustP0F(t, "r", "4:64:0:*:"+text+",*:mss::0").Signature; s.Window.Kind != signature.WindowKind(want) {
			t.Errorf("window %s is %d, want %d", text, s.Window.Kind, want)
		}
	}
	if signature.MaxP0FBucket != bpf.SignaturesMax || signature.MaxKinds != bpf.TCPOptionsMax {
		t.Error("the validator and the dataplane have other limits")
	}
}

func TestTooManyClientsAreRefused(t *testing.T) {
	host, err := compile.HostFile(testHost(), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := testBundle()
	for i := range 9 {
		b.P0F = append(b.P0F, mustP0F(t, "bad", fmt.Sprintf("*:64:0:*:%d,0:mss::0", i)))
	}
	_, err = compile.Bundle(b, host, 1, Now())
	if !errors.Is(err, ErrCapacity) || strings.Count(err.Error(), ":64:0:*:") != 9 {
		t.Errorf("nine signatures of one layout: %v", err)
	}
	d := openTest(t,
		Options{Capacity: config.Capacity{JA4s: 3, TCPSignatures: 2, Hellos: 16, Shapes: 16, Prefixes4: 16, Prefixes6: 16}})
	_, img := compiled(t, d, testHost(), clientsBundle(t))
	if _, err := d.Build(img); !errors.Is(err, ErrCapacity) || !strings.Contains(err.Error(), "JA4 features: 4 rows") {
		t.Errorf("four JA4s into a capacity of three: %v", err)
	}
	d.capacity.JA4s = 4
	if _, err := d.Build(img); !errors.Is(err, ErrCapacity) || !strings.Contains(err.Error(), "p0f signatures: 3 rows") {
		t.Errorf("three signatures into a capacity of two: %v", err)
	}
	d.capacity.TCPSignatures = 3
	if _, err := d.Build(img); err != nil {
		t.Errorf("what fits: %v", err)
	}
}

func TestTwoCompilationsAgree(t *testing.T) {
	host, err := compile.HostFile(testHost(), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := clientsBundle(t)
	for i := range 30 {
		b.Rules = append(b.Rules, config.Rule{ID: fmt.Sprintf("r%d", i), Score: 1})
		b.P0F = append(b.P0F, mustP0F(t, fmt.Sprintf("r%d", i), fmt.Sprintf("*:64:0:*:1,0:mss,?%d::0", 100+i)))
	}
	now := Now()
	first, err := compile.Bundle(b, host, 1, now)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again, err := compile.Bundle(b, host, 1, now)
		if err != nil || !maps.Equal(first.Sums(), again.Sums()) {
			t.Fatalf("compiled twice, the images differ: %v", err)
		}
	}
}
