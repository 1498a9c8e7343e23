// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"time"

	"github.com/spillway/spillway/config"
)

// Life is how old a bundle is, and when nothing of it blocks any more.
type Life struct {
	Name  string
	Since time.Time // it came to this disk
	End   time.Time // the last of its rules that speak against a visitor ends; zero: one of them never does
}

// lives are those of the bundles of one set: what they say of each does not change.
type lives struct {
	of  config.Digest
	all []Life
}

// Lives returns those of the bundles of a set that has this digest. Bundles of which the disk does not know both are
// left out, and asked for again.
func (l *Ledger) Lives(set config.Digest) []Life {
	l.names.mu.Lock()
	known := l.names.lives
	l.names.mu.Unlock()
	if known.of == set && known.all != nil {
		return known.all
	}
	members, all := l.MembersOf(set), []Life{}
	for _, m := range members {
		if n, err := l.store.Names(m.Digest); err == nil && !n.Stored.IsZero() {
			all = append(all, Life{m.Name, n.Stored, endOf(n.Rules)})
		}
	}
	if len(all) == len(members) {
		l.names.mu.Lock()
		l.names.lives = lives{set, all}
		l.names.mu.Unlock()
	}
	return all
}

// endOf returns when the last rule with a score above 0 ends; zero where there is none, or one without an end.
func endOf(rules []config.Rule) (end time.Time) {
	for _, r := range rules {
		switch {
		case r.Score <= 0:
		case r.Expires.IsZero():
			return time.Time{}
		case r.Expires.After(end):
			end = r.Expires
		}
	}
	return end
}
