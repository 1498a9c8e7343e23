// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// What the disk refuses counts at once, is a problem, and is written once the disk takes it.
func TestUpdateThatTheDiskRefuses(t *testing.T) {
	f := &files{}
	l, _ := open(t, f)
	f.refuse = unix.ENOSPC
	if err := l.Update(func(r *state.Record) { r.HostDigest = "one" }); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if l.Record().HostDigest != "one" || !l.Unsaved() || !has(l, ProblemState) || f.record.HostDigest != "" {
		t.Errorf("record %+v, unsaved %t, problems %v, on disk %+v", l.Record(), l.Unsaved(), l.Problems(), f.record)
	}
	l.SaveAgain()
	if !l.Unsaved() {
		t.Error("the disk still refuses")
	}
	f.refuse = nil
	l.SaveAgain()
	if l.Unsaved() || has(l, ProblemState) || f.record.HostDigest != "one" || f.saved != 1 {
		t.Errorf("problems %v, on disk %+v, saved %d times", l.Problems(), f.record, f.saved)
	}
	l.SaveAgain()
	if f.saved != 1 {
		t.Error("what is on disk is written again")
	}
}

// Who reads a record must not change that of the ledger.
func TestRecordIsACopy(t *testing.T) {
	l, _ := open(t, &files{record: state.Record{Bypass: map[string]state.Bypass{"web": {By: "root"}}}})
	r := l.Record()
	r.Bypass["web"], r.HostDigest = state.Bypass{By: "nobody"}, "another"
	if now := l.Record(); now.Bypass["web"].By != "root" || now.HostDigest != "" {
		t.Errorf("the record is %+v", now)
	}
}

// A record that could not be read at the start is taken over later: what the agent learned meanwhile is newer.
func TestReopenAbsorbsTheDisk(t *testing.T) {
	disk := state.Record{LastNumber: 7, LastKnownGood: &state.Generation{Digest: config.Digest{1}, Number: 7}}
	f := &files{unread: unix.EIO}
	l, _ := open(t, f)
	if !has(l, ProblemUnread) {
		t.Error("nobody says that it cannot be read")
	}
	_ = l.Update(func(r *state.Record) { r.LastNumber = 9 })
	if l.Reopen() || l.Record().LastKnownGood != nil {
		t.Error("it was reopened, and cannot be read")
	}
	f.unread, f.record = nil, disk
	if !l.Reopen() || has(l, ProblemUnread) {
		t.Errorf("problems %v", l.Problems())
	}
	if r := l.Record(); r.LastNumber != 9 || r.LastKnownGood == nil || r.LastKnownGood.Number != 7 {
		t.Errorf("the record is %+v", r)
	}
}

// The number of a rollout is nobody else's, also not that of one which waits since before.
func TestNextRollout(t *testing.T) {
	l, _ := open(t, &files{record: state.Record{LastRollout: 4}})
	l.HadRollout(9)
	l.HadRollout(2)
	if a, b := l.NextRollout(), l.NextRollout(); a != "10" || b != "11" {
		t.Errorf("got %s and %s", a, b)
	}
}
