// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"reflect"
	"strings"
	"testing"
)

// mostMethods is how many a handle may have: one with more is two nouns.
const mostMethods = 40

// Each handle is whole by itself, so that its user takes no other: what it has, its own noun gives it. Only the
// dataplane, which opens and closes all of them, has what they have together.
func TestHandlesAreSmall(t *testing.T) {
	for _, handle := range []any{&Root{}, &Words{}, &Slots{}, &CounterTable{}, &BanTable{}, &Vouches{}, &FlowTable{},
		&Links{}, &Programs{}, &Comparisons{}} {
		typ := reflect.TypeOf(handle)
		if n := typ.NumMethod(); n == 0 || n > mostMethods {
			t.Errorf("%s has %d exported methods, want 1 to %d", typ, n, mostMethods)
		}
	}
	d := reflect.TypeFor[Dataplane]()
	parts := 0
	for i := range d.NumField() {
		if f := d.Field(i); f.Anonymous {
			parts++
			if strings.Contains(f.Type.String(), "Dataplane") {
				t.Errorf("%s holds a dataplane", f.Name)
			}
		}
	}
	if parts != 11 { // ten handles and the site
		t.Errorf("the dataplane is made of %d parts, and ten handles were looked at", parts)
	}
}
