// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spillway/spillway/config"
)

// The ways back.
const (
	BackCandidate  = "candidate"  // the candidate was ended
	BackGeneration = "generation" // a former generation decides again
	BackObserve    = "observe"    // everything is judged and nothing is blocked, bans neither
	BackEmpty      = "empty"      // no bundle decides
)

// Back is a way back that was gone. The agent and the command line without one write it down alike, so that a reboot
// does the same. It is also the note that the command leaves beside an agent that holds the state and does not answer.
type Back struct {
	Schema int           `json:"schema"`
	Way    string        `json:"way"`
	To     Generation    `json:"to,omitzero"`   // what decides now
	Left   config.Digest `json:"left,omitzero"` // what decided before
	At     time.Time     `json:"at"`
	UID    uint32        `json:"uid"`
	By     string        `json:"by"`
	Reason string        `json:"reason,omitempty"`
	Detail []string      `json:"detail,omitempty"`
	// Observed says that the host blocked nobody: what it went back to has proved nothing by it.
	Observed bool `json:"observed,omitempty"`
}

// Entry is the line of the history.
func (b *Back) Entry(name string) Entry {
	return Entry{At: b.At, UID: b.UID, User: b.By, Verb: "rollback", Reason: b.Reason, Digest: b.To.Digest, Name: name,
		Number: b.To.Number, Outcome: "done", Detail: b.Detail}
}

// GoBack writes a way back down.
func (r *Record) GoBack(b Back, bake time.Duration) {
	left, _ := r.Known(b.Left)
	q := Quarantined{Name: left.Name(), Digest: b.Left, At: b.At, By: b.By, Reason: b.Reason}
	if b.Way != BackObserve {
		r.WentBack, r.Observed = &WentBack{At: b.At.UTC(), By: b.By, UID: b.UID, Reason: b.Reason}, nil
	}
	switch b.Way {
	case BackCandidate:
		if !b.Left.IsZero() {
			r.AddQuarantine(q) // while the record still says which bundles it had
		}
		r.Confirm = nil
	case BackGeneration:
		to := b.To
		if known, ok := r.Known(to.Digest); ok {
			to.Members = known.Members
		}
		was := r.LastKnownGood
		r.RollBack(to, q, bake)
		if b.Observed && was != nil && was.Digest == b.Left && to.Digest != b.Left {
			r.LastKnownGood, r.BakeUntil = nil, b.At.Add(bake).UTC() // the one that was is condemned, and no other is proven
		}
	case BackObserve:
		r.ModeHeld, r.HeldBack = true, true
	case BackEmpty:
		if r.Applied != nil {
			r.remember(*r.Applied)
		}
		r.Applied, r.Previous, r.LastKnownGood, r.Confirm, r.BakeUntil = nil, nil, nil, nil, time.Time{}
		if !b.Left.IsZero() {
			r.AddQuarantine(q)
		}
	}
}

// Stored returns the generations that a person may go back to, the newest first: those that were in force, and are not.
func (r *Record) Stored() []Generation {
	var out []Generation
	tried := *r
	tried.Trial = nil // it was never in force
	for _, g := range tried.generations() {
		same := func(o Generation) bool { return o.Digest == g.Digest }
		if r.Applied != nil && same(*r.Applied) || r.Confirm != nil && same(r.Confirm.Generation) ||
			slices.ContainsFunc(out, same) {
			continue
		}
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b Generation) int { return int(b.Number) - int(a.Number) })
	return out
}

// Numbered finds a set that the record names by the number of its generation.
func (r *Record) Numbered(n uint32) (Generation, bool) {
	for _, g := range r.generations() {
		if g.Number == n {
			return g, true
		}
	}
	return Generation{}, false
}

const (
	noteDir      = "notes"
	maxNoteBytes = 64 << 10
	backSchema   = 1
)

// LeaveNote leaves a note for the agent that holds the state folder. It follows no symbolic link: root may leave it in
// the folder of an agent that has fewer rights, whose user then owns it.
func LeaveNote(dir string, b Back) error {
	b.Schema = backSchema
	bound(&b)
	data, err := seal(b)
	if err != nil {
		return fmt.Errorf("leave a note: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("leave a note: %w", err)
	}
	defer root.Close()
	if err := root.Mkdir(noteDir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("leave a note: %w", err)
	}
	notes, err := root.OpenRoot(noteDir)
	if err != nil {
		return fmt.Errorf("leave a note: %w", err)
	}
	defer notes.Close()
	name := fmt.Sprintf("%020d-%d", b.At.UnixNano(), os.Getpid())
	f, err := notes.OpenFile(name+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("leave a note: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), likeFolder(root, f), f.Close(), notes.Rename(name+".new", name))
	if err != nil {
		_ = notes.Remove(name + ".new")
		return fmt.Errorf("leave a note: %w", err)
	}
	if d, derr := root.Open(noteDir); derr == nil {
		_ = likeFolder(root, d)
		_ = d.Close()
	}
	return nil
}

// likeFolder gives a file to the owner of the folder, as far as that may be done.
func likeFolder(folder *os.Root, f *os.File) error {
	info, err := folder.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && os.Getuid() == 0 && (st.Uid != 0 || st.Gid != 0) {
		return f.Chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

// notes lie in a folder of their own.
type notes struct{ disk *disk }

// Notes returns the notes that were left, the oldest first, and what removes them once they are written down.
func (ns *notes) Notes() (notes []Back, drop func()) {
	dir := filepath.Join(ns.disk.dir, noteDir)
	entries, err := os.ReadDir(dir) // sorted by name, and so by time
	if err != nil || len(entries) == 0 || ns.disk.refusal() != nil {
		return nil, func() {}
	}
	var done []string
	for _, e := range entries {
		at, _, found := strings.Cut(e.Name(), "-")
		if _, err := strconv.ParseUint(at, 10, 64); err != nil || !found || !e.Type().IsRegular() ||
			strings.HasSuffix(e.Name(), ".new") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := ns.disk.read(path, maxNoteBytes)
		var b Back
		if err == nil {
			var content json.RawMessage
			if content, err = unseal(data, backSchema, backSchema); err == nil {
				err = json.Unmarshal(content, &b)
			}
		}
		if err != nil {
			ns.disk.log.Error("a note of a rollback cannot be read", "file", path, "error", err)
			if errors.Is(err, errCorrupt) {
				ns.disk.setAside(path, err)
			}
			continue
		}
		notes, done = append(notes, b), append(done, path)
	}
	return notes, func() {
		for _, path := range done {
			_ = os.Remove(path)
		}
	}
}
