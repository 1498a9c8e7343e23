// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spillway/spillway/config"
)

// A set of several bundles lies beside them: the list of their names and digests, under the digest of that list. So
// what the kernel names can be found on disk, whatever the record says.

// MembersOf returns the bundles of a set for a record.
func MembersOf(set *config.Set) []Member {
	var out []Member
	for _, b := range set.Bundles {
		out = append(out, Member{Name: b.Name, Digest: b.Digest, Policy: b.HasPolicy()})
	}
	if !set.Host.IsZero() {
		out = append(out, Member{Name: config.HostMember, Digest: set.Host})
		slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// SaveSet stores the bundles of a set, and the list of several.
func (bs *bundles) SaveSet(set *config.Set) error {
	for _, b := range set.Bundles {
		if err := bs.SaveBundle(b); err != nil {
			return err
		}
	}
	if len(set.Members()) < 2 {
		return nil
	}
	if err := bs.SaveNames(set.Merge()); err != nil {
		return err
	}
	if _, err := bs.readBundle(set.Digest); err == nil {
		return nil
	}
	return bs.disk.replace(bs.bundlePath(set.Digest), config.CanonicalMembers(set.Members()))
}

// Set returns the bundles that a digest names: of one bundle, or of a set. An ErrNoBundle of a member is a
// *MissingError.
func (bs *bundles) Set(d config.Digest) (*config.Set, error) {
	data, err := bs.readBundle(d)
	if err != nil {
		return nil, err
	}
	members, ok := membersIn(data)
	if !ok {
		if bytes.HasPrefix(data, []byte(`{"host":`)) {
			return nil, fmt.Errorf("%w: %s is a change of the host file", ErrNoBundle, d.Short())
		}
		b, err := bs.parseBundle(d, data)
		if err != nil {
			return nil, err
		}
		return config.NewSet(b), nil
	}
	set := config.NewSet()
	missing := &MissingError{}
	for _, m := range members {
		if m.Name == config.HostMember { // its digest says all
			set.Host = m.Digest
			continue
		}
		data, err := bs.readBundle(m.Digest)
		var b *config.Bundle
		if err == nil {
			b, err = bs.parseBundle(m.Digest, data)
		}
		switch {
		case errors.Is(err, ErrNoBundle):
			missing.Members, missing.err = append(missing.Members, m), err
		case err != nil:
			return nil, err
		default:
			set = set.With(b)
		}
	}
	if set = set.For(set.Host); missing.err != nil {
		missing.Rest = set
		return nil, missing
	}
	return set, nil
}

// MissingError says which bundles of a set are not on disk.
type MissingError struct {
	Members []config.Member
	Rest    *config.Set // those that are
	err     error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("bundle %s of the set: %v", config.NameOfMembers(e.Members), e.err)
}

// Unwrap returns the last cause.
func (e *MissingError) Unwrap() error { return e.err }

func membersIn(data []byte) ([]config.Member, bool) {
	if !bytes.HasPrefix(data, []byte(`{"set":`)) {
		return nil, false
	}
	members, err := config.ParseMembers(data)
	return members, err == nil
}

// withMembers adds the bundles of sets to their digests: what keeps a set keeps them. An error says that a list is
// there and cannot be read now: nobody knows then what it keeps.
func (bs *bundles) withMembers(digests []config.Digest) ([]config.Digest, error) {
	out := slices.Clone(digests)
	for _, d := range digests {
		members, err := bs.Members(d)
		if Unreadable(err) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, m := range members {
			out = append(out, m.Digest)
		}
	}
	return out, nil
}

// maxSetBytes is longer than the list of any set; a file of more is a bundle, and is not read for its members.
const maxSetBytes = 1 << 20

// Members returns names and digests of the bundles of a set of several; ErrNoBundle when the digest is no such set's.
// It takes little memory, whatever the size of the bundles.
func (bs *bundles) Members(d config.Digest) ([]config.Member, error) {
	data, err := bs.disk.read(bs.bundlePath(d), maxSetBytes)
	if err != nil {
		return nil, err
	}
	members, ok := membersIn(data)
	if !ok || config.DigestOfMembers(members) != d {
		return nil, fmt.Errorf("%w: %s is no set", ErrNoBundle, d.Short())
	}
	return members, nil
}
