// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unsafe"

	"github.com/spillway/spillway/config"
)

// Sums say what the tables of a generation hold, in a few bytes: name of the map to the sum of its rows. Two tables
// have the same sum when they have the same rows, in whatever order the kernel walks them. So a generation of a million
// rows is compared in batches, without its bundle and without its image: the agent can do that in the little memory
// that it has beside the maps.
type Sums map[string]string

// What a sum is of.
const (
	inRows  = "rows"
	inPages = "pages"
)

// rowSum adds the SHA-256 of rows.
type rowSum struct {
	rows  uint64
	lanes [4]uint64
	row   []byte
}

// addRow adds a row, whose key and value are as the kernel holds them.
func addRow[K, V any](s *rowSum, key *K, value *V) {
	s.row = appendValue(appendValue(s.row[:0], key), value)
	s.add(s.row)
}

func (s *rowSum) add(row []byte) {
	h := sha256.Sum256(row)
	for i := range s.lanes {
		s.lanes[i] += binary.LittleEndian.Uint64(h[8*i:])
	}
	s.rows++
}

func (s *rowSum) text(what string) string {
	b := make([]byte, 0, 32)
	for _, lane := range s.lanes {
		b = binary.LittleEndian.AppendUint64(b, lane)
	}
	return fmt.Sprintf("%d %s, %s", s.rows, what, hex.EncodeToString(b))
}

// appendValue appends a value as the kernel holds it. Our types have explicit padding, so they are their bytes.
func appendValue[T any](b []byte, v *T) []byte {
	return append(b, unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...)
}

// Sum sums up the rows.
func (r *rows[K, V]) Sum() string {
	var s rowSum
	for i := range r.keys {
		addRow(&s, &r.keys[i], &r.values[i])
	}
	return s.text(inRows)
}

// SumOf sums up the rows of a map of this shape.
func (r *rows[K, V]) SumOf(m Batches) (string, error) { return sumRows[K, V](m, Batch, inRows) }

// Sum sums up the entries.
func (a array[V]) Sum() string {
	var s rowSum
	for i := range a.values {
		key := uint32(i)
		addRow(&s, &key, &a.values[i])
	}
	return s.text(inRows)
}

// SumOf sums up the entries of a map of this shape.
func (a array[V]) SumOf(m Batches) (string, error) { return sumRows[uint32, V](m, Batch, inRows) }

func sumRows[K, V any](m Batches, batch int, what string) (string, error) {
	var s rowSum
	err := eachOf(m, batch, func(key K, value V) { addRow(&s, &key, &value) })
	return s.text(what), err
}

// Sums returns what the tables of an image will be in the kernel.
func (img *Image) Sums() Sums {
	sums := Sums{}
	for name, t := range img.Tables(config.Capacity{}) {
		if t.Len() > 0 {
			sums[name] = t.Sum()
		}
	}
	return sums
}

// Drift says where sums of the kernel differ from those of what was built.
func (s Sums) Drift(slot uint8, kernel Sums) []Drift {
	var drifts []Drift
	for _, name := range GenerationMaps() {
		want, got := s[name], kernel[name]
		if want == got {
			continue
		}
		if want == "" {
			want = "nothing"
		}
		if got == "" {
			got = "nothing"
		}
		drifts = append(drifts, Drift{fmt.Sprintf("slot %d of %s", slot, name), want, got})
	}
	return drifts
}
