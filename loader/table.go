// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/loader/compile"
)

// batch is how many rows come from the kernel in one call.
const batch = compile.Batch

// rowsIn hands out the rows of a map of the kernel.
type rowsIn struct {
	*ebpf.Map
	cursor ebpf.MapBatchCursor
}

// Next is compile.Batches.
func (r *rowsIn) Next(keys, values any) (n int, more bool, err error) {
	n, err = r.BatchLookup(&r.cursor, keys, values, nil)
	if isLastBatch(err) {
		return n, false, nil
	}
	return n, true, err
}

// into writes rows into a map of the kernel.
func into(m *ebpf.Map) compile.Put {
	return func(keys, values any) (int, error) { return m.BatchUpdate(keys, values, nil) }
}

// eachRow reads all of a map in batches.
func eachRow[K, V any](m *ebpf.Map, visit func(K, V)) error {
	return compile.Each(&rowsIn{Map: m}, visit)
}

// isLastBatch tells the end of a map from a failure.
func isLastBatch(err error) bool { return errors.Is(err, ebpf.ErrKeyNotExist) }
