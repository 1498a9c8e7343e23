// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Set holds the bundles in force on a host, by name. One of them has the policy; a set without one never blocks.
type Set struct {
	// Bundles by name; each name occurs once.
	Bundles []*Bundle
	// Host is the change of the host file that the set is compiled for, zero for none: it stands among the
	// members as HostMember.
	Host Digest
	// Digest names the set: of one bundle it is that bundle's, of several the SHA-256 of the list of their names and
	// digests. Without a bundle it is zero.
	Digest Digest
}

// Member is a bundle of a set by name and digest.
type Member struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
}

// NewSet makes a set. Of several bundles with one name the last counts.
func NewSet(bundles ...*Bundle) *Set {
	s := &Set{}
	for _, b := range bundles {
		i, known := slices.BinarySearchFunc(s.Bundles, b.Name,
			func(b *Bundle, name string) int { return strings.Compare(b.Name, name) })
		if known {
			s.Bundles[i] = b
			continue
		}
		s.Bundles = slices.Insert(s.Bundles, i, b)
	}
	s.Digest = DigestOfMembers(s.Members())
	return s
}

// With returns the set with a bundle added, or in the place of the one of its name.
func (s *Set) With(b *Bundle) *Set {
	return NewSet(append(slices.Clone(s.bundles()), b)...).For(s.host())
}

// Without returns the set without the bundle of a name.
func (s *Set) Without(name string) *Set {
	return NewSet(slices.DeleteFunc(slices.Clone(s.bundles()), func(b *Bundle) bool { return b.Name == name })...).
		For(s.host())
}

// For returns the set as it is compiled for a change of the host file; zero: for none.
func (s *Set) For(host Digest) *Set {
	out := &Set{Bundles: s.bundles(), Host: host}
	out.Digest = DigestOfMembers(out.Members())
	return out
}

func (s *Set) host() Digest {
	if s == nil {
		return Digest{}
	}
	return s.Host
}

// Named returns the bundle of a name, nil when there is none.
func (s *Set) Named(name string) *Bundle {
	for _, b := range s.bundles() {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// Policy returns the bundle that has the policy, nil when none has.
func (s *Set) Policy() *Bundle {
	for _, b := range s.bundles() {
		if b.HasPolicy() {
			return b
		}
	}
	return nil
}

// HasPolicy reports whether the bundle has a policy, be it one that never blocks. A bundle without one is made to stand
// beside one that has.
func (b *Bundle) HasPolicy() bool { return len(b.Policy) > 0 }

// bundles lets a nil set be empty.
func (s *Set) bundles() []*Bundle {
	if s == nil {
		return nil
	}
	return s.Bundles
}

// Empty reports whether the set has no bundle.
func (s *Set) Empty() bool { return len(s.bundles()) == 0 }

// Members returns names and digests, by name.
func (s *Set) Members() []Member {
	var out []Member
	for _, b := range s.bundles() {
		out = append(out, Member{b.Name, b.Digest})
	}
	if host := s.host(); !host.IsZero() && len(out) > 0 {
		i, _ := slices.BinarySearchFunc(out, HostMember,
			func(m Member, name string) int { return strings.Compare(m.Name, name) })
		out = slices.Insert(out, i, Member{HostMember, host})
	}
	return out
}

// Name is what people call the set: the bundle's name, or all of them.
func (s *Set) Name() string { return NameOfMembers(s.Members()) }

// NameOfMembers is Set.Name for members. The change of a host file is no bundle.
func NameOfMembers(members []Member) string {
	var names []string
	for _, m := range members {
		if m.Name != HostMember {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// DigestOfMembers is Set.Digest for members, which are sorted by name.
func DigestOfMembers(members []Member) Digest {
	switch len(members) {
	case 0:
		return Digest{}
	case 1:
		return members[0].Digest
	}
	return sha256.Sum256(CanonicalMembers(members))
}

type canonicalSet struct {
	Set []Member `json:"set"`
}

// CanonicalMembers returns the canonical list of a set of several: JSON without blanks, by name.
func CanonicalMembers(members []Member) []byte {
	out, _ := json.Marshal(canonicalSet{members}) // texts and digests always have a JSON form
	return append(out, '\n')
}

// ParseMembers reads what CanonicalMembers wrote of two or more; anything else is ErrNotCanonical.
func ParseMembers(data []byte) ([]Member, error) {
	var file canonicalSet
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("parse set of bundles: %w: %w", ErrNotCanonical, err)
	}
	ordered := slices.IsSortedFunc(file.Set, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	if len(file.Set) < 2 || !ordered || !bytes.Equal(CanonicalMembers(file.Set), data) {
		return nil, fmt.Errorf("parse set of bundles: %w", ErrNotCanonical)
	}
	return file.Set, nil
}
