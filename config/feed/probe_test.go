// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"strings"
	"testing"
)

// A beginning that is cut off anywhere is a beginning of the same.
func TestProbeOfABeginning(t *testing.T) {
	long := func(row, separator string) []byte {
		return []byte(strings.TrimSuffix(strings.Repeat(row+separator, 5000), separator))
	}
	for name, c := range map[string]struct {
		head []byte
		want Format
	}{
		"JSON in one line":  {append([]byte(`{"x":[`), long(`{"cidr":"192.0.2.1"}`, ",")...), JSON},
		"JSON lines":        {long(`{"cidr":"192.0.2.1"}`, "\n"), JSON},
		"an array of texts": {append([]byte(`[`), long(`"192.0.2.1"`, ",")...), JSON},
		"lines":             {long("192.0.2.1", "\n"), ""},
		"quoted columns":    {long(`"192.0.2.1","x"`, "\n"), CSV},
		"columns":           {long("2026-12-01,192.0.2.1,x", "\n"), CSV},
	} {
		for cut := range 30 {
			f, err := Probe(c.head[:len(c.head)-cut], false)
			if err != nil || f.Format == CSV && f.Separator != ',' || f.Format != c.want || f.Good < 4990 {
				t.Errorf("%s without %d bytes: %+v, %v", name, cut, f, err)
				break
			}
		}
	}
	for name, want := range map[string]string{"list.gz": "gzip", "error.html": "HTML", "utf16.txt": "UTF-16"} {
		head := bytes.ReplaceAll(sample(t, name), []byte("\n"), []byte(" "))
		if _, err := Probe(head, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func FuzzProbe(f *testing.F) {
	for _, name := range []string{"drop.txt", "tracker.csv", "block.txt", "github.json", "p2p.txt", "semicolons.csv"} {
		f.Add(sample(f, name), true)
		f.Add(sample(f, name)[:50], false)
	}
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		found, err := Probe(data, whole)
		if err == nil && (found == nil || found.Good == 0) {
			t.Fatalf("found %+v", found)
		}
	})
}
