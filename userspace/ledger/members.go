// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// MembersOf returns the bundles of a generation, as far as anybody here knows them.
func (l *Ledger) MembersOf(d config.Digest) []config.Member {
	var out []config.Member
	for _, m := range l.RecordMembers(d) {
		if m.Name != config.HostMember {
			out = append(out, config.Member{Name: m.Name, Digest: m.Digest})
		}
	}
	return out
}

// RecordMembers is MembersOf for the record.
func (l *Ledger) RecordMembers(d config.Digest) []state.Member {
	known, ok := l.known(d)
	if ok && len(known.Members) > 0 {
		return known.Members
	}
	members, err := l.store.Members(d)
	if err != nil {
		return state.One(l.NameOf(d), d)
	}
	var out []state.Member
	for _, m := range members {
		out = append(out, state.Member{Name: m.Name, Digest: m.Digest})
	}
	return out
}
