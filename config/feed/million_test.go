// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"fmt"
	"testing"
)

const million = 1_000_000

// millionOf returns a file of a million rows: addresses are set into the shape of one.
func millionOf(shape string) []byte {
	var b bytes.Buffer
	for i := range million {
		fmt.Fprintf(&b, shape, fmt.Sprintf("198.%d.%d.%d", i>>16&255, i>>8&255, i&255))
	}
	return b.Bytes()
}

func BenchmarkMillionRows(b *testing.B) {
	for _, c := range []struct {
		name, shape string
		o           Options
	}{
		{"plain", "%s\n", Options{}},
		{"columns", "%s\thigh, seen often # yes\n", Options{}},
		{"csv", "\"2026-10-01\",\"%s\",\"443\"\n", Options{Format: CSV, Column: Column{Number: 2}}},
		{"ranges", "%[1]s - %[1]s\n", Options{Format: Ranges}},
		{"json", "{\"cidr\":\"%s/32\",\"sblid\":\"SBL000001\",\"rir\":\"apnic\"}\n", Options{Format: JSON}},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := millionOf(c.shape)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				sum, err := Read(bytes.NewReader(data), c.o, func(*Row) error { return nil })
				if err != nil || sum.Rows != million {
					b.Fatal(sum, err)
				}
			}
		})
	}
}
