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

// rowSum adds the SHA-256 of rows.
type rowSum struct {
	rows  uint64
	lanes [4]uint64
}

func (s *rowSum) add(row []byte) {
	h := sha256.Sum256(row)
	for i := range s.lanes {
		s.lanes[i] += binary.LittleEndian.Uint64(h[8*i:])
	}
	s.rows++
}

func (s *rowSum) String() string {
	b := make([]byte, 0, 32)
	for _, lane := range s.lanes {
		b = binary.LittleEndian.AppendUint64(b, lane)
	}
	return fmt.Sprintf("%d rows, %s", s.rows, hex.EncodeToString(b))
}

// appendValue appends a value as the kernel holds it. Our types have explicit padding, so they are their bytes.
func appendValue[T any](b []byte, v *T) []byte {
	return append(b, unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...)
}

// Sum sums up the rows.
func (r *rows[K, V]) Sum() string {
	var s rowSum
	var row []byte
	for i := range r.keys {
		row = appendValue(appendValue(row[:0], &r.keys[i]), &r.values[i])
		s.add(row)
	}
	return s.String()
}

// SumOf sums up the rows of a map of this shape.
func (r *rows[K, V]) SumOf(m Batches) (string, error) { return sumRows[K, V](m) }

// Sum sums up the entries.
func (a array[V]) Sum() string {
	var s rowSum
	var row []byte
	for i := range a.values {
		key := uint32(i)
		row = appendValue(appendValue(row[:0], &key), &a.values[i])
		s.add(row)
	}
	return s.String()
}

// SumOf sums up the entries of a map of this shape.
func (a array[V]) SumOf(m Batches) (string, error) { return sumRows[uint32, V](m) }

func sumRows[K, V any](m Batches) (string, error) {
	var s rowSum
	var row []byte
	err := Each(m, func(key K, value V) {
		row = appendValue(appendValue(row[:0], &key), &value)
		s.add(row)
	})
	return s.String(), err
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
