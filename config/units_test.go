// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/yaml"
)

func TestUnitsArePrintedAsTheyAreWritten(t *testing.T) {
	for want, v := range map[string]interface{ String() string }{
		"30%": Percent(30), "0.25%": Percent(0.25), "never": Never, "80": Threshold(80),
		"15m": Timeout(15 * time.Minute), "24h": Timeout(24 * time.Hour), "1h30m": Timeout(90 * time.Minute),
		"5s": Timeout(5 * time.Second), "1m30s": Timeout(90 * time.Second), "500ms": Timeout(500 * time.Millisecond),
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
		F signature.MuonFP
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
	f := yaml.FieldsOf(reflect.TypeFor[ReasonFeature]()).Named("reason")
	enum := map[string]bool{}
	for _, name := range f.Limits.Enum {
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
