// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// SumGeneration sums up what a slot holds.
func (sl *Slots) SumGeneration(slot uint8) (compile.Sums, error) {
	sums := compile.Sums{}
	for name, t := range compile.Empty().Tables(sl.capacity) {
		m, err := sl.innerMap(name, slot)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		sum, err := t.SumOf(&kernel.RowsIn{Map: m})
		info, ierr := m.Info()
		_ = m.Close()
		if err := errors.Join(err, ierr); err != nil {
			return nil, kernel.Explain(fmt.Sprintf("sum up slot %d of %s", slot, name), err)
		}
		if !info.Frozen() {
			sum += ", writable"
		}
		sums[name] = sum
	}
	return sums, nil
}
