// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/loader"
)

// F17: `detach` said "detached from eth0" where the device had been deleted long before.
func TestF17DetachNamesWhatWasAttached(t *testing.T) {
	all := []loader.Attachment{{Interface: "eth0", State: loader.StateSevered},
		{Interface: "eth1", State: loader.StateAttached}}
	if got := cut(all); !slices.Equal(got, []string{"eth1"}) {
		t.Errorf("detached from %v", got)
	}
}
