// SPDX-License-Identifier: Apache-2.0

package loader

import "slices"

// Trips are generations that decide no more, though the control word names them. One that is stable gives way to
// previous, a candidate to what is stable.
type Trips struct {
	// Ended is the candidate whose lease lapsed, or that was taken out; 0 for none.
	Ended uint32
	// Spent are, by lane, the generation that used up its budget, and what it was built again as; 0 for none.
	Spent [Lanes][2]uint32
}

// Has reports whether a candidate decides no more, for whichever reason.
func (t Trips) Has(generation uint32) bool {
	return generation != 0 && t.Ended == generation || t.HasSpent(generation)
}

// HasSpent reports whether a generation used up its budget.
func (t Trips) HasSpent(generation uint32) bool {
	return generation != 0 && slices.ContainsFunc(t.Spent[:], func(lane [2]uint32) bool {
		return slices.Contains(lane[:], generation)
	})
}
