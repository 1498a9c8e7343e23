// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"slices"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// NameGenerations adds to generations what the record knows: their names, and what was compiled.
func (l *Ledger) NameGenerations(all []api.Generation) {
	compiled := l.Record().Compiled
	for i := range all {
		g := &all[i]
		g.Name = l.NameOf(g.Digest)
		if members := l.MembersOf(g.Digest); len(members) > 1 ||
			len(members) == 1 && members[0].Digest != g.Digest { // with a change of the host file
			g.Members = members
		}
		if k := slices.IndexFunc(compiled, func(c state.Compiled) bool { return c.Number == g.Number }); k >= 0 {
			g.Compiled, g.LeftOut = compiled[k].Digest, compiled[k].LeftOutRows
		}
	}
}
