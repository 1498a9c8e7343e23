// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

const million = 1_000_000

// shapes are files of each format, by one row.
var shapes = []struct {
	name, row string
	o         Options
}{
	{"plain", "%s\n", Options{}},
	{"columns", "%s\thigh, seen often # yes\n", Options{}},
	{"csv", "\"2026-10-01\",\"%s\",\"443\"\n", Options{Format: CSV, Column: Column{Number: 2}}},
	{"ranges", "%[1]s - %[1]s\n", Options{Format: Ranges}},
	{"json", "{\"cidr\":\"%s/32\",\"sblid\":\"SBL000001\",\"rir\":\"apnic\"}\n", Options{Format: JSON}},
}

// fileOf returns a file of n rows of a shape.
func fileOf(shape string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, shape, fmt.Sprintf("198.%d.%d.%d", i>>16&255, i>>8&255, i&255))
	}
	return b.Bytes()
}

// However long a file is, it is read in the memory of a few rows.
func TestMemoryIsBounded(t *testing.T) {
	for _, c := range shapes {
		const n = 100_000
		data := fileOf(c.row, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		sum, err := Read(bytes.NewReader(data), c.o, func(*Row) error { return nil })
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err != nil || sum.Rows != n || taken > 1<<20 {
			t.Errorf("%s: %d rows took %d bytes of memory: %v", c.name, sum.Rows, taken, err)
		}
	}
}

func BenchmarkMillionRows(b *testing.B) {
	for _, c := range shapes {
		b.Run(c.name, func(b *testing.B) {
			data := fileOf(c.row, million)
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
