// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/signature"
)

const chromeJA4 = "t13d1516h2_8daaf6152771_02713d6af862"

func TestFormatJA4(t *testing.T) {
	f, err := ParseJA4(chromeJA4)
	if err != nil || FormatJA4(f) != chromeJA4 || FormatStableJA4(f) != chromeJA4 {
		t.Errorf("%s comes back as %s, stable %s, %v", chromeJA4, FormatJA4(f), FormatStableJA4(f), err)
	}
	f.StableCount, f.StableC = [2]uint8{'1', '4'}, [6]uint8{0xe5, 0x62, 0x7e, 0xfa, 0x2a, 0xb1}
	if got, want := FormatStableJA4(f), "t13d1514h2_8daaf6152771_e5627efa2ab1"; got != want || FormatJA4(f) != chromeJA4 {
		t.Errorf("stable JA4 is %s, want %s; JA4 %s", got, want, FormatJA4(f))
	}
	for _, bad := range []string{"", "t13d1516h2_*_02713d6af862", "t13d1516h2"} {
		if _, err := ParseJA4(bad); err == nil {
			t.Errorf("%q is taken for a JA4", bad)
		}
	}
}

// What p0f prints of a SYN, from what the dataplane keeps of it.
func TestFormatP0F(t *testing.T) {
	fingerprint := func(muonfp string) bpf.TCPFingerprint {
		f, err := signature.ParseMuonFP(muonfp)
		if err != nil {
			t.Fatal(err)
		}
		return fingerprintKey(f)
	}
	const df, id = uint32(bpf.QuirkDF), uint32(bpf.QuirkID)
	for _, c := range []struct {
		muonfp string
		facts  bpf.TCPFacts
		want   string
	}{
		{"64240:2-4-8-1-3:1460:7", bpf.TCPFacts{Version: 4, Ttl: 64, Quirks: df | id},
			"4:64+0:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"},
		{"64800:2-4-8-1-3:1440:7", bpf.TCPFacts{Version: 6, Ttl: 52, Quirks: uint32(bpf.QuirkFlow)},
			"6:52+12:0:1440:mss*45,7:mss,sok,ts,nop,ws:flow:0"},
		{"65535:::", bpf.TCPFacts{Version: 4, Ttl: 255, Quirks: uint32(bpf.QuirkPayload)}, "4:255+0:0:0:65535,0:::+"},
		{"1024:2:1460:", bpf.TCPFacts{Version: 4, Ttl: 29, Olen: 4}, "4:29+3:4:1460:1024,0:mss::0"},
		{"6000:2-0:1460:", bpf.TCPFacts{Version: 4, Ttl: 70, EolPad: 3}, "4:70+?:0:1460:mtu*4,0:mss,eol+3::0"},
		// of mss less its timestamp
		{"14480:2-4-8-1-3:1460:0", bpf.TCPFacts{Version: 4, Ttl: 65}, "4:65+?:0:1460:mss*10,0:mss,sok,ts,nop,ws::0"},
		{"65535:2-78-8:1400:", bpf.TCPFacts{Version: 4, Ttl: 120}, "4:120+8:0:1400:65535,0:mss,?78,ts::0"},
		{"65535:2:1400:", bpf.TCPFacts{}, ""},
	} {
		if got := FormatP0F(fingerprint(c.muonfp), c.facts); got != c.want {
			t.Errorf("%s, %+v: %s, want %s", c.muonfp, c.facts, got, c.want)
		}
	}
}
