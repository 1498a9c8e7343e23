// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"reflect"
	"slices"
)

// form is what the rows of a map of features are: its keys in their order, and how people read a row.
type form[K, V comparable] struct {
	in     string // the name of the map
	name   string // of the table, before a key
	order  func(a, b K) int
	format func(K) string
	value  func(V) string
}

func (f *form[K, V]) new() Table { return &rows[K, V]{form: f} }

// of returns the image's rows of this form.
func (f *form[K, V]) of(img *Image) *rows[K, V] { return img.features[f.in].(*rows[K, V]) }

// rows is the content of one feature map: keys in map order, and beside each its value.
type rows[K, V comparable] struct {
	*form[K, V]
	keys   []K
	values []V
}

func (r *rows[K, V]) add(key K, value V) {
	r.keys = append(r.keys, key)
	r.values = append(r.values, value)
}

func (r *rows[K, V]) has(key K) bool { return slices.Contains(r.keys, key) }

// sort orders the rows, so that reading back can search them.
func (r *rows[K, V]) sort() {
	order := make([]int, len(r.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return r.order(r.keys[i], r.keys[j]) })
	keys, values := make([]K, len(order)), make([]V, len(order))
	for to, from := range order {
		keys[to], values[to] = r.keys[from], r.values[from]
	}
	r.keys, r.values = keys, values
}

// Len returns the number of rows.
func (r *rows[K, V]) Len() int { return len(r.keys) }

// Entries returns the number of rows.
func (r *rows[K, V]) Entries() int { return len(r.keys) }

// Write writes the rows in batches.
func (r *rows[K, V]) Write(put Put) error {
	for from := 0; from < len(r.keys); from += Batch {
		to := min(from+Batch, len(r.keys))
		n, err := put(r.keys[from:to], r.values[from:to])
		if err != nil {
			return fmt.Errorf("row %d (%s): %w", from+n, r.format(r.keys[min(from+n, to-1)]), err)
		}
	}
	return nil
}

// Compare compares the rows with those of a map.
func (r *rows[K, V]) Compare(m Batches) ([]Drift, error) {
	seen := make([]bool, len(r.keys))
	var drifts []Drift
	add := func(d Drift) {
		if len(drifts) < DriftMax {
			drifts = append(drifts, d)
		}
	}
	err := Each(m, func(key K, value V) {
		at, ok := slices.BinarySearchFunc(r.keys, key, r.order)
		where := r.name + " " + r.format(key)
		switch {
		case !ok:
			add(Drift{where, "nothing", r.value(value)})
		case r.values[at] != value:
			add(Drift{where, r.value(r.values[at]), r.value(value)})
			seen[at] = true
		default:
			seen[at] = true
		}
	})
	if err != nil {
		return nil, err
	}
	for i, ok := range seen {
		if !ok {
			add(Drift{r.name + " " + r.format(r.keys[i]), r.value(r.values[i]), "nothing"})
		}
	}
	return drifts, nil
}

func formatHead(head uint32) string { return fmt.Sprintf("rule node %d", head) }

// array is a table whose keys are 0 to len-1.
type array[V comparable] struct {
	name   string
	values []V
}

// Len returns the number of entries.
func (a array[V]) Len() int { return len(a.values) }

// Entries returns the number of entries.
func (a array[V]) Entries() int { return len(a.values) }

// Write writes all entries at once.
func (a array[V]) Write(put Put) error {
	keys := make([]uint32, len(a.values))
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := put(keys, a.values)
	return err
}

// Compare compares the entries with those of a map.
func (a array[V]) Compare(m Batches) ([]Drift, error) {
	var drifts []Drift
	count := 0
	err := Each(m, func(key uint32, value V) {
		count++
		if int(key) < len(a.values) && a.values[key] == value || len(drifts) >= DriftMax {
			return
		}
		where := fmt.Sprintf("%s entry %d", a.name, key)
		if int(key) >= len(a.values) {
			drifts = append(drifts, Drift{where, "nothing", fmt.Sprintf("%+v", value)})
			return
		}
		drifts = append(drifts, fieldDrifts(where, reflect.ValueOf(a.values[key]), reflect.ValueOf(value))...)
		drifts = drifts[:min(len(drifts), DriftMax)]
	})
	if err == nil && count != len(a.values) {
		drifts = append(drifts, Drift{a.name, fmt.Sprintf("%d entries", len(a.values)), fmt.Sprintf("%d", count)})
	}
	return drifts, err
}
