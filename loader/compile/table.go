// SPDX-License-Identifier: Apache-2.0

package compile

import "errors"

// ErrCapacity: more rows than the host file, or the kernel, provides for.
var ErrCapacity = errors.New("over capacity")

// Table is one map of a slot to be. Len are its rows, Entries what they take in the map.
type Table interface {
	Len() int
	Entries() int
	Write(put Put) error
	Compare(m Batches) ([]Drift, error)
	Sum() string
	SumOf(m Batches) (string, error)
}

// Sized is a table and the size of its map: Max entries, or where it fits its rows as many as they take, at most Max.
type Sized struct {
	Table
	Max  int
	Fits bool
}

// Size returns how many entries the map has.
func (s Sized) Size() int {
	if s.Fits {
		return s.Entries()
	}
	return s.Max
}

// Batch is how many rows go to the kernel in one call, or come from it.
const Batch = 4096

// Put writes rows, slices of keys and values, and says how many it took.
type Put func(keys, values any) (int, error)

// Batches hands out the rows of a map.
type Batches interface {
	// Next fills the slices, and says how many rows there were and whether more may follow.
	Next(keys, values any) (n int, more bool, err error)
}

// Each visits all rows of a map.
func Each[K, V any](m Batches, visit func(K, V)) error { return eachOf(m, Batch, visit) }

func eachOf[K, V any](m Batches, batch int, visit func(K, V)) error {
	keys, values := make([]K, batch), make([]V, batch)
	for {
		n, more, err := m.Next(keys, values)
		for i := range n {
			visit(keys[i], values[i])
		}
		if err != nil || !more {
			return err
		}
	}
}
