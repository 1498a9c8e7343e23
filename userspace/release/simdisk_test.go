// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// simDisk is the state folder in memory. state's own tests are about files.
type simDisk struct {
	*trouble
	plant  string
	record *state.Record
	sets   map[config.Digest]*config.Set // what is on disk
	queue  []state.Queued
	notes  []state.Back
}

var (
	_ ledger.Files = (*simDisk)(nil)
	_ Disk         = (*simDisk)(nil)
)

func newSimDisk(t *trouble) *simDisk {
	return &simDisk{trouble: t, record: &state.Record{}, sets: map[config.Digest]*config.Set{}}
}

func (d *simDisk) refuses() error { return d.touch(d.disk, unix.ENOSPC) }

func (d *simDisk) Load() (*state.Record, error) {
	r := d.record.Clone()
	if d.plant == "the quarantine is not read" {
		r.Quarantine = nil
	}
	return r, nil
}

func (d *simDisk) Reopen() (*state.Record, error) { return nil, nil }

func (d *simDisk) Save(r *state.Record) error {
	if err := d.refuses(); err != nil {
		return err
	}
	if d.plant == "a write is lost" && len(r.Quarantine) > 0 {
		return nil
	}
	d.record = r.Clone()
	_ = d.touch(false, nil)
	return nil
}

func (d *simDisk) Append(state.Entry) error                 { return d.refuses() }
func (d *simDisk) History(int) ([]state.Entry, int, error)  { return nil, 0, nil }
func (d *simDisk) Crashed(string) (times int, at time.Time) { return 0, time.Time{} }
func (d *simDisk) Attempt(string) func()                    { return func() {} }
func (d *simDisk) SaveNames(*config.Bundle) error           { return nil }

func (d *simDisk) Names(digest config.Digest) (*state.Names, error) {
	set := d.sets[digest]
	if set == nil {
		return nil, state.ErrNoBundle
	}
	b := set.Merge()
	return &state.Names{Name: b.Name, Rules: b.Rules}, nil
}

func (d *simDisk) Set(digest config.Digest) (*config.Set, error) {
	if err := d.touch(d.disk, unix.EIO); err != nil {
		return nil, err
	}
	set := d.sets[digest]
	if set == nil {
		return nil, fmt.Errorf("%w: %s", state.ErrNoBundle, digest.Short())
	}
	return set, nil
}

func (d *simDisk) Bundle(digest config.Digest) (*config.Bundle, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	return set.Merge(), nil
}

func (d *simDisk) Members(digest config.Digest) ([]config.Member, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	if len(set.Bundles) < 2 {
		return nil, state.ErrNoBundle
	}
	return set.Members(), nil
}

func (d *simDisk) SaveBundle(b *config.Bundle) error { return d.SaveSet(config.NewSet(b)) }

func (d *simDisk) SaveSet(set *config.Set) error {
	if err := d.refuses(); err != nil {
		return err
	}
	for _, b := range set.Bundles {
		d.sets[b.Digest] = config.NewSet(b)
	}
	d.sets[set.Digest] = set
	return nil
}

func (d *simDisk) Bundles() (all []config.Digest) {
	for digest, set := range d.sets {
		if len(set.Bundles) == 1 {
			all = append(all, digest)
		}
	}
	return all
}

func (d *simDisk) Has(digest config.Digest) bool { return d.sets[digest] != nil }

func (d *simDisk) Whole(digest config.Digest) error {
	_, err := d.Set(digest)
	return err
}

func (d *simDisk) Prune(keep []config.Digest) error {
	if err := d.refuses(); err != nil {
		return err
	}
	if d.plant == "too much is pruned" {
		keep = keep[len(keep)-1:]
	}
	for digest, set := range d.sets {
		if slices.Contains(keep, digest) {
			for _, b := range set.Bundles {
				keep = append(keep, b.Digest)
			}
		}
	}
	for digest := range d.sets {
		if !slices.Contains(keep, digest) {
			delete(d.sets, digest)
		}
	}
	return nil
}

func (d *simDisk) Queue() ([]state.Queued, error) { return slices.Clone(d.queue), nil }

func (d *simDisk) SaveQueue(q []state.Queued) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.queue = slices.Clone(q)
	return nil
}

func (d *simDisk) Notes() ([]state.Back, func()) {
	if d.plant == "notes are not found" {
		return nil, func() {}
	}
	return slices.Clone(d.notes), func() { d.notes = nil }
}

// noHosts keep no host file: what goes in directly counts at once.
type noHosts struct{}

func (noHosts) Host() (*state.Host, error)             { return nil, state.ErrNoHost }
func (noHosts) Before() (*state.Before, bool, error)   { return nil, false, state.ErrNoHost }
func (noHosts) SaveBefore(state.Before) error          { return nil }
func (noHosts) DropBefore() error                      { return nil }
func (noHosts) SaveChange(config.Digest, []byte) error { return nil }
