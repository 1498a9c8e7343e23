// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/loader/compile"
)

// Batch is how many rows come from the kernel in one call.
const Batch = compile.Batch

// RowsIn hands out the rows of a map of the kernel.
type RowsIn struct {
	*ebpf.Map
	cursor ebpf.MapBatchCursor
}

// Next is compile.Batches.
func (r *RowsIn) Next(keys, values any) (n int, more bool, err error) {
	n, err = r.BatchLookup(&r.cursor, keys, values, nil)
	if IsLastBatch(err) {
		return n, false, nil
	}
	return n, true, err
}

// Into writes rows into a map of the kernel.
func Into(m *ebpf.Map) compile.Put {
	return func(keys, values any) (int, error) { return m.BatchUpdate(keys, values, nil) }
}

// EachRow reads all of a map in batches.
func EachRow[K, V any](m *ebpf.Map, visit func(K, V)) error {
	return compile.Each(&RowsIn{Map: m}, visit)
}

// IsLastBatch tells the end of a map from a failure.
func IsLastBatch(err error) bool { return errors.Is(err, ebpf.ErrKeyNotExist) }
