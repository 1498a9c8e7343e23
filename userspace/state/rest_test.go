// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// later puts a field that this release does not have into every object of the content, as a later release may.
func later(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = later(v[key])
		}
		v["later"] = map[string]any{"x": "<1>"}
	case []any:
		for i := range v {
			v[i] = later(v[i])
		}
	}
	return v
}

// withLater rewrites a sealed file with fields of a later release.
func withLater(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := unseal(data, 0, 99)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bypass", "compiled"} { // maps by name are no objects of ours
		switch all := v[name].(type) {
		case map[string]any:
			for key := range all {
				later(all[key])
			}
			delete(v, name)
			defer func() { v[name] = all }()
		}
	}
	if data, err = seal(later(v)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a later release wrote is there again after this one changed something else.
func TestFieldsOfALaterReleaseSurvive(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	r := full()
	r.Rest, r.Compiled[0].Services, r.Compiled[0].Sums = "", nil, nil
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	ban := Ban{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Expires: noon, Made: noon}
	if err := s.Bans().Change([]Ban{ban}, nil); err != nil {
		t.Fatal(err)
	}
	withLater(t, filepath.Join(dir, recordFile))
	withLater(t, filepath.Join(dir, quarantineFile))
	line, err := sealLine(
		later(map[string]any{"schema": bansSchema,
			"ban": map[string]any{"prefix": "192.0.2.8/32", "expires": noon, "made": noon}}))
	if err != nil {
		t.Fatal(err)
	}
	next, err := sealLine(map[string]any{"schema": bansSchema + 1, "banish": "192.0.2.9/32"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, bansFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write(append(line, next...))
	_ = f.Close()
	_ = s.Close()

	s = open(t, dir, nil)
	r = mustLoad(t, s)
	if diff := cmp.Diff(sample().Applied, r.Applied, ignoreRest); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	count := func(name string) int {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte(`"later":{"x":"<1>"}`))
	}
	before := map[string]int{recordFile: count(recordFile), quarantineFile: count(quarantineFile),
		bansFile: count(bansFile)}
	if before[recordFile] < 15 || before[quarantineFile] != 2 {
		t.Fatalf("the test wrote %v", before)
	}
	r.LastNumber++
	r.AddQuarantine(Quarantined{Name: "b", At: noon})
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if err := s.Bans().Shift(time.Second); err != nil { // writes them anew
		t.Fatal(err)
	}
	before[bansFile] = 1 // that of the line itself is of nobody: only its ban is kept
	for name, want := range before {
		if got := count(name); got != want {
			t.Errorf("%s: %d of %d fields of a later release are left", name, got, want)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dir, bansFile)); !bytes.Contains(data, next) {
		t.Error("a line of a later schema is gone")
	}
	// They belong to their object: what is new has none.
	r.Apply(Generation{Number: 99}, noon)
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if g := mustLoad(t, s).Applied; g.Rest != "" || !strings.Contains(fmt.Sprint(mustLoad(t, s).Previous.Rest), "later") {
		t.Errorf("applied %+v", g)
	}
}

// A file of a later schema is no damage: it stays, nothing is written over it, and everybody is told.
func TestALaterSchemaIsLeftAlone(t *testing.T) {
	for _, name := range []string{recordFile, quarantineFile} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		data, err := seal(map[string]any{"schema": 99, "applied": "another form"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, nil)
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "newer release") {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Save(sample()); err == nil {
			t.Errorf("%s: written over", name)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) || len(s.Damaged()) > 0 {
			t.Errorf("%s: it changed (%v), damaged %v", name, err, s.Damaged())
		}
	}
}
