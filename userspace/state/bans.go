// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// bans.log has one line for each ban and for each end of one, in their order:
//
//	{"schema":1,"ban":{"prefix":"192.0.2.7/32",…},"sum":"…"}
//	{"schema":1,"unban":"192.0.2.7/32","sum":"…"}
//
// A change appends its line and syncs, however many bans there are. Lines whose ban has ended are taken out when they
// are the most, by writing the file anew: Flush does that, beside the changes. A line that was cut off is the last one,
// and its change never counted; a line that was changed costs its own ban.
const (
	bansSchema = 1
	// spareLines is how many lines without a ban may stay, beside twice the bans.
	spareLines = 1000
	// mostSpareLines is when a change does not wait for Flush.
	mostSpareLines = 100 * spareLines
)

// Ban is a ban with its end in wall time.
type Ban struct {
	Prefix  netip.Prefix `json:"prefix"`
	Expires time.Time    `json:"expires"`
	Made    time.Time    `json:"made"`
	By      string       `json:"by,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Rest    Rest         `json:"-"`
}

// FoundBy is who made a ban that the kernel has and the record does not.
const FoundBy = "found"

// banLine is a line of bans.log.
type banLine struct {
	Schema int          `json:"schema"`
	Ban    *Ban         `json:"ban,omitempty"`
	Unban  netip.Prefix `json:"unban,omitzero"`
}

// Bans is what the disk knows of bans: who made each and why, and which ones come back after a reboot. Its memory is
// right at once; what the disk refuses is written later.
type Bans struct {
	disk *disk

	// mu guards what follows, and orders writes of the file.
	mu     sync.Mutex
	all    map[netip.Prefix]Ban
	ended  map[netip.Prefix]bool // while the file is unread: bans of it that ended
	loaded bool
	unread error    // the file is there and cannot be read: nothing is written over it
	dirty  bool     // the file is not what memory is: it is written anew
	size   int64    // of the file
	lines  int      // in the file
	strays [][]byte // whole lines of a newer release, kept as they are
}

// Bans returns the bans of the folder.
func (s *Store) Bans() *Bans { return &s.bans }

// ReadBans returns the bans of a state folder that another process may have locked, as far as they can be read. It
// changes nothing, whatever it finds.
func ReadBans(dir string) []Ban {
	s := Unusable(dir, errors.New("it is only read"), Options{})
	_ = s.bans.load()
	return s.bans.All()
}

// All returns the bans, sorted by prefix.
func (b *Bans) All() []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Ban
	for _, ban := range b.all {
		out = append(out, ban)
	}
	return sortedBans(out)
}

func sortedBans(all []Ban) []Ban {
	slices.SortFunc(all, func(x, y Ban) int { return x.Prefix.Compare(y.Prefix) })
	return all
}

// Get returns the ban of a prefix.
func (b *Bans) Get(p netip.Prefix) (Ban, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ban, ok := b.all[p]
	return ban, ok
}

// InForce returns how many bans have not ended, and whether that of a prefix is one of them.
func (b *Bans) InForce(now time.Time, p netip.Prefix) (count int, banned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ban := range b.all {
		if ban.Expires.After(now) {
			count++
		}
	}
	return count, b.all[p].Expires.After(now)
}

// Ended reports whether the end of some ban is over.
func (b *Bans) Ended(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ban := range b.all {
		if !ban.Expires.After(now) {
			return true
		}
	}
	return false
}

// Unread is why the bans on disk are not known yet; nil when they are.
func (b *Bans) Unread() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unread
}

// Change writes down bans that were made, and ends of others.
func (b *Bans) Change(made []Ban, ended []netip.Prefix) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ensureLoaded()
	var lines []banLine
	for _, p := range ended {
		if _, known := b.all[p]; known || b.unread != nil {
			lines = append(lines, banLine{Schema: bansSchema, Unban: p})
			b.end(p)
		}
	}
	for _, ban := range made {
		bound(&ban)
		lines = append(lines, banLine{Schema: bansSchema, Ban: &ban})
		b.put(ban)
	}
	if len(lines) == 0 {
		return nil
	}
	return b.write(lines)
}

// Shift moves the end of every ban with the wall clock.
func (b *Bans) Shift(by time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ensureLoaded()
	for p, ban := range b.all {
		ban.Expires = shift(ban.Expires, by)
		b.all[p] = ban
	}
	if len(b.all) == 0 {
		return nil
	}
	b.dirty = true
	return b.write(nil)
}

// Flush writes what the disk refused before, and takes lines out of the file that have no ban any more. It does nothing
// when there is neither.
func (b *Bans) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ensureLoaded()
	if !b.dirty && b.lines <= 2*len(b.all)+spareLines {
		return nil
	}
	b.dirty = true
	return b.write(nil)
}

func (b *Bans) put(ban Ban) {
	if b.all == nil {
		b.all = map[netip.Prefix]Ban{}
	}
	b.all[ban.Prefix] = ban
	delete(b.ended, ban.Prefix)
}

func (b *Bans) end(p netip.Prefix) {
	delete(b.all, p)
	if b.unread == nil {
		return
	}
	if b.ended == nil {
		b.ended = map[netip.Prefix]bool{}
	}
	b.ended[p] = true
}

// write appends lines, or writes the whole file where the one on disk is not what it should be.
func (b *Bans) write(lines []banLine) error {
	err := b.disk.refusal()
	if err == nil && b.unread != nil {
		err = fmt.Errorf("%w: %w", ErrUnread, b.unread)
	}
	if err == nil && !b.dirty && b.lines <= 2*len(b.all)+mostSpareLines {
		if err = b.append(lines); err == nil {
			return nil
		}
	}
	if err == nil || errors.Is(err, errChanged) {
		err = b.rewrite()
	}
	b.dirty = err != nil
	if err != nil {
		return fmt.Errorf("write bans: %w", err)
	}
	return nil
}

// errChanged says that the file is not the one that was written last: somebody removed it, or the folder.
var errChanged = errors.New("the file is another one")

func (b *Bans) append(lines []banLine) error {
	var data []byte
	for _, l := range lines {
		line, err := sealLine(l)
		if err != nil {
			return err
		}
		data = append(data, line...)
	}
	path := filepath.Join(b.disk.dir, bansFile)
	if err := b.disk.fault(opCreate, path); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	f, err := b.disk.open(path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errChanged
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != b.size {
		return errChanged
	}
	if err := b.disk.write(f, path, data); err != nil {
		return err
	}
	b.size, b.lines = b.size+int64(len(data)), b.lines+len(lines)
	return nil
}

func (b *Bans) rewrite() error {
	var all []Ban
	for _, ban := range b.all {
		all = append(all, ban)
	}
	data, err := banLines(b.strays, sortedBans(all))
	if err != nil {
		return err
	}
	if err := b.disk.replace(filepath.Join(b.disk.dir, bansFile), data); err != nil {
		return err
	}
	b.size, b.lines = int64(len(data)), len(b.strays)+len(all)
	return nil
}

// banLines returns a file of bans.
func banLines(strays [][]byte, all []Ban) (data []byte, err error) {
	for _, line := range strays {
		data = append(append(data, line...), '\n')
	}
	for _, ban := range all {
		bound(&ban)
		line, err := sealLine(banLine{Schema: bansSchema, Ban: &ban})
		if err != nil {
			return nil, fmt.Errorf("encode the ban of %s: %w", ban.Prefix, err)
		}
		data = append(data, line...)
	}
	return data, nil
}

// ensureLoaded reads the file once. While it cannot be read, load is asked again by Store.Reopen.
func (b *Bans) ensureLoaded() {
	if !b.loaded && b.unread == nil {
		_ = b.load()
	}
}

// load reads the file below what memory has: what was done since counts more.
func (b *Bans) load() error {
	path := filepath.Join(b.disk.dir, bansFile)
	data, err := b.disk.read(path, maxBansBytes)
	if errors.Is(err, errCorrupt) { // it claims to be larger than any that was written
		b.disk.setAside(path, err)
		data, err = nil, fs.ErrNotExist
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.unread = fmt.Errorf("read bans: %w", err)
		return b.unread
	}
	made, ended := b.all, b.ended
	b.all, b.ended, b.unread, b.loaded = map[netip.Prefix]Ban{}, nil, nil, true
	b.size, b.lines, b.strays, b.dirty = int64(len(data)), 0, nil, false
	b.replay(path, data)
	for p := range ended {
		delete(b.all, p)
	}
	for p, ban := range made {
		if known, ok := b.all[p]; ok && ban.By == FoundBy {
			known.Expires = ban.Expires
			ban = known
		}
		b.all[p] = ban
	}
	b.dirty = b.dirty || len(made)+len(ended) > 0
	return nil
}

// maxBansBytes bounds what is read: some hundred thousand bans and their ends.
const maxBansBytes = 256 << 20

func (b *Bans) replay(path string, data []byte) {
	var damaged []byte
	err := eachLine(bytes.NewReader(data), func(line []byte, whole bool) {
		b.lines++
		var l banLine
		body, err := openLine(line)
		if err == nil {
			if err = checkSchema(body, bansSchema, bansSchema); errors.Is(err, errNewer) {
				b.strays = append(b.strays, bytes.Clone(line))
				return
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &l)
		}
		switch {
		case err != nil && !whole && b.last(line, data): // a crash cut it off: its change never counted
		case err != nil:
			damaged = append(append(damaged, line...), '\n')
		case l.Ban != nil:
			b.all[l.Ban.Prefix] = *l.Ban
		default:
			delete(b.all, l.Unban)
		}
	})
	b.dirty = len(damaged) > 0 || len(data) > 0 && data[len(data)-1] != '\n'
	if err == nil && len(damaged) > 0 {
		b.disk.keepAside(path, damaged)
	}
}

// last reports whether a line without an end is the end of the file.
func (b *Bans) last(line, data []byte) bool { return bytes.HasSuffix(data, line) }
