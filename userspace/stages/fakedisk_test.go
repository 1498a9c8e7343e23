// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/state"
)

// fakeDisk is the state folder in memory. state's own tests are about files.
type fakeDisk struct {
	*trouble
	record  *state.Record
	sets    map[config.Digest]*config.Set
	stages  []byte
	history []state.Entry
	queue   []state.Queued
	full    bool // for where the rollouts are
}

var (
	_ ledger.Files = (*fakeDisk)(nil)
	_ release.Disk = (*fakeDisk)(nil)
	_ Disk         = (*fakeDisk)(nil)
)

func (d *fakeDisk) refuses() error { return d.touch(d.disk, unix.ENOSPC) }

func (d *fakeDisk) Load() (*state.Record, error)   { return d.record.Clone(), nil }
func (d *fakeDisk) Reopen() (*state.Record, error) { return nil, nil }

func (d *fakeDisk) Save(r *state.Record) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.record = r.Clone()
	_ = d.touch(false, nil)
	return nil
}

func (d *fakeDisk) SaveStages(content any) error {
	if d.full {
		return unix.ENOSPC
	}
	if err := d.refuses(); err != nil {
		return err
	}
	text, err := json.Marshal(content)
	if err == nil {
		d.stages = text
	}
	_ = d.touch(false, nil)
	return err
}

func (d *fakeDisk) Stages(into any) (bool, error) {
	if err := d.touch(d.disk, unix.EIO); err != nil || d.stages == nil {
		return false, err
	}
	return true, json.Unmarshal(d.stages, into)
}

func (d *fakeDisk) Append(e state.Entry) error {
	d.history = append(d.history, e)
	return d.refuses()
}

func (d *fakeDisk) History(int) ([]state.Entry, int, error)  { return nil, 0, nil }
func (d *fakeDisk) Crashed(string) (times int, at time.Time) { return 0, time.Time{} }
func (d *fakeDisk) Attempt(string) func()                    { return func() {} }
func (d *fakeDisk) SaveNames(*config.Bundle) error           { return nil }

func (d *fakeDisk) Names(digest config.Digest) (*state.Names, error) {
	set := d.sets[digest]
	if set == nil {
		return nil, state.ErrNoBundle
	}
	b := set.Merge()
	return &state.Names{Name: b.Name, Rules: b.Rules}, nil
}

func (d *fakeDisk) Set(digest config.Digest) (*config.Set, error) {
	if err := d.touch(d.disk, unix.EIO); err != nil {
		return nil, err
	}
	set := d.sets[digest]
	if set == nil {
		return nil, fmt.Errorf("%w: %s", state.ErrNoBundle, digest.Short())
	}
	return set, nil
}

func (d *fakeDisk) Bundle(digest config.Digest) (*config.Bundle, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	return set.Merge(), nil
}

func (d *fakeDisk) Members(digest config.Digest) ([]config.Member, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	if len(set.Bundles) < 2 {
		return nil, state.ErrNoBundle
	}
	return set.Members(), nil
}

func (d *fakeDisk) SaveBundle(b *config.Bundle) error { return d.SaveSet(config.NewSet(b)) }

func (d *fakeDisk) SaveSet(set *config.Set) error {
	if err := d.refuses(); err != nil {
		return err
	}
	for _, b := range set.Bundles {
		d.sets[b.Digest] = config.NewSet(b)
	}
	d.sets[set.Digest] = set
	return nil
}

func (d *fakeDisk) Bundles() (all []config.Digest) {
	for digest, set := range d.sets {
		if len(set.Bundles) == 1 {
			all = append(all, digest)
		}
	}
	return all
}

func (d *fakeDisk) Has(digest config.Digest) bool { return d.sets[digest] != nil }

func (d *fakeDisk) Whole(digest config.Digest) error {
	_, err := d.Set(digest)
	return err
}

func (d *fakeDisk) Prune(keep []config.Digest) error {
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

func (d *fakeDisk) Queue() ([]state.Queued, error) { return d.queue, nil }

func (d *fakeDisk) SaveQueue(all []state.Queued) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.queue = all
	return nil
}

func (d *fakeDisk) Notes() ([]state.Back, func()) { return nil, func() {} }
