// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"sync"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// names are of the resident bundles.
type names struct {
	mu    sync.Mutex
	known map[config.Digest]*Bundle
	lives lives
}

// Bundle is what people need to read of a resident bundle: the kernel has only numbers.
type Bundle struct {
	Name  string
	Rules []config.Rule
	// matched is what each of the rules matches, where that is known.
	matched []string
	// missing: it is not on disk, or reading it takes more memory than there is.
	missing bool
}

// Learn remembers the names of a bundle, and what its rules match.
func (l *Ledger) Learn(d config.Digest, name string, rules []config.Rule, matched []string) {
	l.names.mu.Lock()
	defer l.names.mu.Unlock()
	l.names.known[d] = &Bundle{Name: name, Rules: rules, matched: matched}
}

// LearnResident reads the names of resident bundles that this process did not apply, and forgets those that left.
func (l *Ledger) LearnResident(all []loader.GenerationInfo) {
	resident := map[config.Digest]bool{}
	var unread error
	for _, g := range all {
		resident[g.Digest] = true
		l.EnsureKnown(g.Digest)
		if l.Knows(g.Digest) == nil {
			unread = errors.Join(unread, l.readWhole(g.Digest))
		}
	}
	if unread != nil {
		l.SetProblem(ProblemBundle,
			unread.Error(), "repair the disk or the rights of the file; the kernel enforces the bundle, and its rules have no names until it can be read")
	} else {
		l.ClearProblem(ProblemBundle)
	}
	l.names.mu.Lock()
	defer l.names.mu.Unlock()
	for digest := range l.names.known {
		if !resident[digest] {
			delete(l.names.known, digest)
		}
	}
}

// EnsureKnown reads a bundle's names now, if nobody has yet: a small file, whatever the size of the bundle.
func (l *Ledger) EnsureKnown(d config.Digest) {
	if l.Knows(d) != nil {
		return
	}
	if n, err := l.store.Names(d); err == nil {
		l.Learn(d, n.Name, n.Rules, n.Matched)
	}
}

// readWhole reads the names out of a bundle that was saved without them. One of a million rows may take more memory
// than this process may have, and names are not worth dying for. An error says that it is on disk and cannot be read
// now.
func (l *Ledger) readWhole(d config.Digest) error {
	err := l.Optional(WorkNames, func() error {
		b, err := l.store.Bundle(d)
		if err != nil {
			return err
		}
		l.Learn(d, b.Name, b.Rules, b.Matched())
		return l.store.SaveNames(b)
	})
	if l.Knows(d) != nil {
		return nil
	}
	if state.Unreadable(err) {
		return err
	}
	l.names.mu.Lock()
	l.names.known[d] = &Bundle{missing: true}
	l.names.mu.Unlock()
	l.log.Warn("the bundle of a resident generation cannot be read: its rules have no names", "digest",
		d.Short(), "error", err)
	return nil
}

// Knows returns what is known of a bundle; nil when nobody has read it.
func (l *Ledger) Knows(d config.Digest) *Bundle {
	l.names.mu.Lock()
	defer l.names.mu.Unlock()
	return l.names.known[d]
}

// NameOf returns the name of a bundle, "" when nobody here knows it.
func (l *Ledger) NameOf(d config.Digest) string {
	if k := l.Knows(d); k != nil && k.Name != "" {
		return k.Name
	}
	g, _ := l.known(d)
	return g.Name()
}

// RuleOf returns a rule of a bundle by its index in the kernel: the bundle's rules in the order of their ids.
func (l *Ledger) RuleOf(d config.Digest, index uint16) (config.Rule, bool) {
	k := l.Knows(d)
	if k == nil || int(index) >= len(k.Rules) {
		return config.Rule{}, false
	}
	return k.Rules[index], true
}

// MatchedBy says what a rule of a bundle matches, by its index in the kernel; "" where that is not known.
func (l *Ledger) MatchedBy(d config.Digest, index uint16) string {
	k := l.Knows(d)
	if k == nil || int(index) >= len(k.matched) {
		return ""
	}
	return k.matched[index]
}
