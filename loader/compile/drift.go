// SPDX-License-Identifier: Apache-2.0

package compile

import "strings"

// Drift is one place in which the kernel does not hold what it should.
type Drift struct {
	Where string
	Want  string
	Got   string
}

// DriftMax bounds what one table reports: a person reads the first few, a program needs to know that there are some.
const DriftMax = 20

// Where the loader's VerifyWiring found something, for callers that mend it.
const (
	// WherePrograms: nothing, or something else, is behind the root program. RefillPrograms mends it.
	WherePrograms = "PROG_ARRAY behind the root program"
	// WherePins: pins were removed. Repin mends it, as long as the process that holds the maps lives.
	WherePins = "pins"

	// WhereInterface is before the name of an interface.
	WhereInterface = "interface "
)

// OnInterface reports whether the drift is a link of an interface. Attach mends it.
func (d Drift) OnInterface() bool { return strings.HasPrefix(d.Where, WhereInterface) }

// NoDataplane reports whether the drift is a root program, or a front, that calls nothing: everything passes.
func (d Drift) NoDataplane() bool {
	return d.Where == WherePrograms && d.Got == GotNothing && d.Want == WantDataplane
}

// NoPayload reports whether the drift is a dataplane that hands over to nothing: what only a first payload tells
// passes.
func (d Drift) NoPayload() bool {
	return d.Where == WherePrograms && d.Got == GotNothing && d.Want != WantDataplane
}

// EmptySlot reports whether the drift is a role of the control word that names a slot without content.
func (d Drift) EmptySlot() bool { return d.Got == GotEmptySlot }

// What the loader's VerifyWiring wants and finds.
const (
	WantDataplane = "the dataplane"
	GotNothing    = "nothing: what it would see passes"
	GotEmptySlot  = "nothing: it passes"
)
