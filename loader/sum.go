// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
)

// Sums say what the tables of a generation hold, in a few bytes: name of the map to the sum of its rows. Two tables have
// the same sum when they have the same rows, in whatever order the kernel walks them. So a generation of a million rows
// is compared in batches, without its bundle and without its image: the agent can do that in the little memory that it
// has beside the maps.
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

func (f feature[K, V]) sum() string {
	var s rowSum
	var row []byte
	for i := range f.rows.keys {
		row = appendValue(appendValue(row[:0], &f.rows.keys[i]), &f.rows.values[i])
		s.add(row)
	}
	return s.String()
}

func (f feature[K, V]) sumOf(m *ebpf.Map) (string, error) { return sumRows[K, V](m) }

func (a array[V]) sum() string {
	var s rowSum
	var row []byte
	for i := range a.values {
		key := uint32(i)
		row = appendValue(appendValue(row[:0], &key), &a.values[i])
		s.add(row)
	}
	return s.String()
}

func (a array[V]) sumOf(m *ebpf.Map) (string, error) { return sumRows[uint32, V](m) }

func sumRows[K, V any](m *ebpf.Map) (string, error) {
	var s rowSum
	var row []byte
	err := eachRow(m, func(key K, value V) {
		row = appendValue(appendValue(row[:0], &key), &value)
		s.add(row)
	})
	return s.String(), err
}

// Sums returns what the tables of an image will be in the kernel.
func (img *Image) Sums() Sums {
	sums := Sums{}
	for name, t := range img.tables(config.Capacity{}) {
		if !t.empty() {
			sums[name] = t.sum()
		}
	}
	return sums
}

// SumGeneration sums up what a slot holds.
func (d *Dataplane) SumGeneration(slot uint8) (Sums, error) {
	sums := Sums{}
	for name, t := range (&Image{}).tables(d.capacity) {
		m, err := d.innerMap(name, slot)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		sum, err := t.sumOf(m)
		info, ierr := m.Info()
		_ = m.Close()
		if err := errors.Join(err, ierr); err != nil {
			return nil, explain(fmt.Sprintf("sum up slot %d of %s", slot, name), err)
		}
		if !info.Frozen() {
			sum += ", writable"
		}
		sums[name] = sum
	}
	return sums, nil
}

// Drift says where sums of the kernel differ from those of what was built.
func (s Sums) Drift(slot uint8, kernel Sums) []Drift {
	var drifts []Drift
	for _, name := range generationMaps {
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
