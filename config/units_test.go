// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
	longest := "1:" + strings.TrimSuffix(strings.Repeat("1-", MaxMuonFPKinds), "-") + "::"
	if _, err := ParseMuonFP(longest); err != nil {
		t.Errorf("%d kinds: %v", MaxMuonFPKinds, err)
	}
	for _, bad := range []string{
		"", ":", "1", "1:::2:", ":2:1460:", "65536:::", "-1:::", "+1:::", " 1:::", "1: ::", "1:2-:5:", "1:-2:5:", "1:2--1:5:", "1:256::", "1:2:65536:", "1:3::256", "1:2:1460", "0x1:::", "01:::", "1:02:5:",
		"1:2::", "1::5:", "1:3::", "1:::5", "1:0-1::", strings.Replace(longest, "1-", "1-1-", 1),
	} {
		if fp, err := ParseMuonFP(bad); err == nil {
			t.Errorf("%q is read as %s", bad, fp)
		}
	}
}

func TestUnitsArePrintedAsTheyAreWritten(t *testing.T) {
	for want, v := range map[string]interface{ String() string }{
		"30%": Percent(30), "0.25%": Percent(0.25), "never": Never, "80": Threshold(80),
		"15m": Timeout(15 * time.Minute), "24h": Timeout(24 * time.Hour), "1h30m": Timeout(90 * time.Minute), "5s": Timeout(5 * time.Second), "1m30s": Timeout(90 * time.Second), "500ms": Timeout(500 * time.Millisecond),
		"any": Address{},
	} {
		if got := v.String(); got != want {
			t.Errorf("%#v is printed as %s, want %s", v, got, want)
		}
	}
	if Timeout(0).String() != "never" {
		t.Errorf("no timeout is printed as %s", Timeout(0))
	}
	if got := Percent(30).Fraction(); got != 0.3 {
		t.Errorf("30 %% is the fraction %v", got)
	}
}

func TestJSONComesBack(t *testing.T) {
	type all struct {
		P Percent
		T Threshold
		N Threshold
		A Address
		F MuonFP
		D Digest
	}
	_, b := loadExamples(t)
	in := all{P: 12.5, T: 80, F: b.TCP[0].Fingerprint, D: b.Digest}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out all
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if diff := cmp.Diff(in, out, compareAddresses); diff != "" {
		t.Errorf("%s (-in +out):\n%s", data, diff)
	}
}

// The three places that list the scoreable reasons agree.
func TestScoreableReasonsAreTheEnum(t *testing.T) {
	f := fieldsOf(reflect.TypeFor[ReasonFeature]()).named("reason")
	enum := map[string]bool{}
	for _, name := range f.limits.enum {
		enum[name] = true
	}
	for _, name := range ScoreableReasons() {
		if !enum[name] {
			t.Errorf("the reason %s is scoreable, and the bundle does not know it", name)
		}
		delete(enum, name)
	}
	if len(enum) > 0 {
		t.Errorf("the bundle knows %v, which are not scoreable", enum)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"score", "label", "expires", "id"}
	for word, want := range map[string]string{"scroe": "score", "lable": "label", "expire": "expires", "ID": "", "verdict": "", "x": "", "": "", strings.Repeat("s", 100): ""} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
