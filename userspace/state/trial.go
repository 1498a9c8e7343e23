// SPDX-License-Identifier: Apache-2.0

package state

import "slices"

// Try writes down a generation that was built for a trial, before the kernel shows it: its names are known, and its
// bundles stay on disk.
func (r *Record) Try(g Generation) {
	r.Trial = append(slices.DeleteFunc(slices.Clone(r.Trial), func(o Generation) bool { return o.Number == g.Number }), g)
	r.LastNumber = max(r.LastNumber, g.Number)
}

// EndTrials forgets generations whose trial is over: all but those that are on it still.
func (r *Record) EndTrials(on []uint32) (changed bool) {
	over := func(g Generation) bool { return !slices.Contains(on, g.Number) }
	if !slices.ContainsFunc(r.Trial, over) {
		return false
	}
	r.Trial = slices.DeleteFunc(slices.Clone(r.Trial), over)
	return true
}
