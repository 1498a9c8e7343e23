// SPDX-License-Identifier: Apache-2.0

package releasetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// Disk is the state folder in memory. state's own tests are about files.
type Disk struct {
	*Trouble
	Record  *state.Record
	Sets    map[config.Digest]*config.Set // what is on disk
	Kept    []byte                        // where the rollouts are
	Entries []state.Entry                 // the history
	Queued  []state.Queued
	Full    bool // for where the rollouts are
}

// NewDisk is an empty one.
func NewDisk(t *Trouble) *Disk {
	return &Disk{Trouble: t, Record: &state.Record{}, Sets: map[config.Digest]*config.Set{}}
}

func (d *Disk) refuses() error { return d.Touch(d.Trouble.Disk, unix.ENOSPC) }

func (d *Disk) Load() (*state.Record, error)   { return d.Record.Clone(), nil }
func (d *Disk) Reopen() (*state.Record, error) { return nil, nil }

func (d *Disk) Save(r *state.Record) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.Record = r.Clone()
	_ = d.Touch(false, nil)
	return nil
}

func (d *Disk) SaveStages(content any) error {
	if d.Full {
		return unix.ENOSPC
	}
	if err := d.refuses(); err != nil {
		return err
	}
	text, err := json.Marshal(content)
	if err == nil {
		d.Kept = text
	}
	_ = d.Touch(false, nil)
	return err
}

func (d *Disk) Stages(into any) (bool, error) {
	if err := d.Touch(d.Trouble.Disk, unix.EIO); err != nil || d.Kept == nil {
		return false, err
	}
	return true, json.Unmarshal(d.Kept, into)
}

func (d *Disk) Append(e state.Entry) error {
	d.Entries = append(d.Entries, e)
	return d.refuses()
}

func (d *Disk) History(int) ([]state.Entry, int, error)  { return nil, 0, nil }
func (d *Disk) Crashed(string) (times int, at time.Time) { return 0, time.Time{} }
func (d *Disk) Attempt(string) func()                    { return func() {} }
func (d *Disk) SaveNames(*config.Bundle) error           { return nil }

func (d *Disk) Names(digest config.Digest) (*state.Names, error) {
	set := d.Sets[digest]
	if set == nil {
		return nil, state.ErrNoBundle
	}
	b := set.Merge()
	return &state.Names{Name: b.Name, Rules: b.Rules}, nil
}

func (d *Disk) Set(digest config.Digest) (*config.Set, error) {
	if err := d.Touch(d.Trouble.Disk, unix.EIO); err != nil {
		return nil, err
	}
	set := d.Sets[digest]
	if set == nil {
		return nil, fmt.Errorf("%w: %s", state.ErrNoBundle, digest.Short())
	}
	return set, nil
}

func (d *Disk) Bundle(digest config.Digest) (*config.Bundle, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	return set.Merge(), nil
}

func (d *Disk) Members(digest config.Digest) ([]config.Member, error) {
	set, err := d.Set(digest)
	if err != nil {
		return nil, err
	}
	if len(set.Bundles) < 2 {
		return nil, state.ErrNoBundle
	}
	return set.Members(), nil
}

func (d *Disk) SaveBundle(b *config.Bundle) error { return d.SaveSet(config.NewSet(b)) }

func (d *Disk) SaveSet(set *config.Set) error {
	if err := d.refuses(); err != nil {
		return err
	}
	for _, b := range set.Bundles {
		d.Sets[b.Digest] = config.NewSet(b)
	}
	d.Sets[set.Digest] = set
	return nil
}

func (d *Disk) Bundles() (all []config.Digest) {
	for digest, set := range d.Sets {
		if len(set.Bundles) == 1 {
			all = append(all, digest)
		}
	}
	return all
}

func (d *Disk) Has(digest config.Digest) bool { return d.Sets[digest] != nil }

func (d *Disk) Whole(digest config.Digest) error {
	_, err := d.Set(digest)
	return err
}

func (d *Disk) Prune(keep []config.Digest) error {
	for digest, set := range d.Sets {
		if slices.Contains(keep, digest) {
			for _, b := range set.Bundles {
				keep = append(keep, b.Digest)
			}
		}
	}
	for digest := range d.Sets {
		if !slices.Contains(keep, digest) {
			delete(d.Sets, digest)
		}
	}
	return nil
}

func (d *Disk) Queue() ([]state.Queued, error) { return d.Queued, nil }

func (d *Disk) SaveQueue(all []state.Queued) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.Queued = all
	return nil
}

func (d *Disk) Notes() ([]state.Back, func()) { return nil, func() {} }
