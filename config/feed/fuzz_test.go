// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"errors"
	"testing"
)

// fuzzFormat holds, for any bytes, what a reader of lists relies on.
func fuzzFormat(f *testing.F, o Options, samples ...string) {
	for _, name := range samples {
		data := sample(f, name)
		f.Add(data)
		for i := 1; i < len(data); i += 41 { // cut off anywhere: a file that is being written
			f.Add(data[:i])
		}
	}
	for _, text := range []string{"", "\x00", "\xff", "\ufeff", "\n", "-", ",", "\"", "\"\"", "[", "{", "#", ";", ":",
		"/", "1.2.3.4-", "-1.2.3.4",
		"1.2.3.4-1.2.3.3", "1.2.3.4-::1", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255",
		"a:1.2.3.4-1.2.3.9",
		"1.2.3.4 ;5.6.7.8", "1.2.3.4|5.6.7.8", "\"1.2.3.4\"x,\"\"\"\"", "AS1", "<", "\ufeff{\"cidr\":\"1.2.3.4\"}",
		"[[[\"1.2.3.4\"]]]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := 0
		sum, err := Read(bytes.NewReader(data), o, func(r *Row) error {
			rows++
			if (r.Problem == "") != (len(r.Prefixes) > 0) || r.At.Line < 1 || r.At.Column < 1 {
				t.Fatalf("row %+v", r)
			}
			for _, p := range r.Prefixes {
				if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() && p.Bits() >= 96 {
					t.Fatalf("%s is not normalised: %+v", p, r)
				}
			}
			return nil
		})
		var misfit *Misfit
		if errors.As(err, &misfit) && (misfit.At.Line < 1 || misfit.At.Column < 1 || misfit.Problem == "" ||
			misfit.Valid == "") {
			t.Fatalf("misfit %+v", misfit)
		}
		if err == nil && sum.Rows != rows || len(sum.Last) > 3*maxTail {
			t.Fatalf("%d rows were told, %+v", rows, sum)
		}
	})
}

func FuzzPlain(f *testing.F) {
	fuzzFormat(f, Options{CountFrom: "Entries"}, "drop.txt", "level.netset", "counts.txt")
}

func FuzzRanges(f *testing.F) {
	fuzzFormat(f, Options{Format: Ranges}, "block.txt", "dashes.txt", "tabs.txt", "p2p.txt")
}

func FuzzCSV(f *testing.F) {
	fuzzFormat(f, Options{Format: CSV, Column: Column{Name: "dst_ip"}}, "tracker.csv", "semicolons.csv")
}

func FuzzCSVBlanks(f *testing.F) {
	fuzzFormat(f, Options{Format: CSV, Separator: ' ', Column: Column{Number: 2}}, "pairs.txt", "tracker.csv")
}

func FuzzJSON(f *testing.F) {
	fuzzFormat(f, Options{Format: JSON, CountFrom: "records"}, "drop.jsonl", "aws.json", "azure.json", "github.json")
}

func FuzzJSONGrammar(f *testing.F) {
	f.Add(sample(f, "aws.json"))
	f.Add([]byte(`["\ud83d\ude00", 1e5, {"a": null}]`))
	f.Fuzz(func(t *testing.T, data []byte) { compareJSON(t, data) })
}
