// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzMuonFP(f *testing.F) {
	for _, s := range []string{"26847:2-4-8-1-3:1460:8", "65535:::", "1024:2:1460:", "1:0::", "1:2-0:1:", "", ":::",
		"1:2:3:4:5", "1:1-1-1::", "0:3::0", "1:2-3:0:255"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fp, err := ParseMuonFP(s)
		if err != nil {
			return
		}
		if fp.String() != s || len(fp.Kinds) > MaxKinds {
			t.Fatalf("%q is read as %q with %d kinds", s, fp, len(fp.Kinds))
		}
	})
}

func TestMuonFP(t *testing.T) {
	mss, scale := uint16(1460), uint8(8)
	got, err := ParseMuonFP("26847:2-4-8-1-3:1460:8")
	want := MuonFP{Window: 26847, Kinds: []uint8{2, 4, 8, 1, 3}, MSS: &mss, Scale: &scale}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err = ParseMuonFP("65535:::"); err != nil || got.MSS != nil || got.Scale != nil || len(got.Kinds) != 0 {
		t.Errorf("a SYN without options is read as %+v, %v", got, err)
	}
	longest := "1:" + strings.TrimSuffix(strings.Repeat("1-", MaxKinds), "-") + "::"
	if _, err := ParseMuonFP(longest); err != nil {
		t.Errorf("%d kinds: %v", MaxKinds, err)
	}
	for _, bad := range []string{
		"", ":", "1", "1:::2:", ":2:1460:", "65536:::", "-1:::", "+1:::", " 1:::", "1: ::", "1:2-:5:", "1:-2:5:", "1:2--1:5:",
		"1:256::", "1:2:65536:", "1:3::256", "1:2:1460", "0x1:::", "01:::", "1:02:5:",
		"1:2::", "1::5:", "1:3::", "1:::5", "1:0-1::", strings.Replace(longest, "1-", "1-1-", 1),
	} {
		if fp, err := ParseMuonFP(bad); err == nil {
			t.Errorf("%q is read as %s", bad, fp)
		}
	}
}
