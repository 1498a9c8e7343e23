// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
)

// A line that the disk refuses is a problem until one is written.
func TestAudit(t *testing.T) {
	f := &files{}
	l, _ := open(t, f)
	e := l.Entry(api.Caller{UID: 1000, User: "eve"}, "ban", "scraper")
	e.Outcome = api.OutcomeDone
	f.refuse = unix.ENOSPC
	l.Audit(e)
	if !has(l, ProblemHistory) || len(f.lines) != 0 {
		t.Errorf("problems %v, lines %v", l.Problems(), f.lines)
	}
	f.refuse = nil
	l.Audit(e)
	l.Forbidden(api.Caller{UID: 1001, User: "mallory"}, "rollback")
	h, err := l.History(context.Background(), 0)
	if err != nil || has(l, ProblemHistory) || len(h.Entries) != 2 || h.Skipped != 1 {
		t.Fatalf("%+v, %v, problems %v", h, err, l.Problems())
	}
	if got := h.Entries[0]; got.User != "eve" || got.UID != 1000 || got.Verb != "ban" ||
		got.Reason != "scraper" || !got.At.Equal(noon) {
		t.Errorf("%+v", got)
	}
	if got := h.Entries[1]; got.User != "mallory" || got.Verb != "rollback" || got.Outcome != api.OutcomeRefused {
		t.Errorf("%+v", got)
	}
	f.unread = unix.EIO
	if _, err := l.History(context.Background(), 0); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
}

func TestNote(t *testing.T) {
	c := &api.Change{}
	Note(c, nil)
	if len(c.Details) != 0 {
		t.Errorf("all is written, and it says %v", c.Details)
	}
	Note(c, unix.ENOSPC)
	if len(c.Details) != 1 || !strings.Contains(c.Details[0], "the disk refused the record") {
		t.Errorf("it says %v", c.Details)
	}
}

// What became of a change, and why, as its line says it.
func TestOutcomes(t *testing.T) {
	faults := &api.FaultReport{List: []yaml.Fault{{Problem: "no rule"}}, Total: 3}
	for _, row := range []struct {
		err     error
		outcome string
		details []string // each begins, or holds, so
	}{
		{&api.Error{Code: api.CodeRefused, Message: "refused"}, api.OutcomeRefused, []string{"refused"}},
		{&api.Error{Code: api.CodeHeld, Message: "held", Holds: []api.Hold{{Text: "it grows"}}}, api.OutcomeHeld,
			[]string{"held", "it grows"}},
		{&api.Error{Code: api.CodeRefused, Message: "refused", Faults: faults}, api.OutcomeRefused,
			[]string{"no rule", "and 2 more faults"}},
		{&api.Error{Code: api.CodeBusy, Message: "busy"}, api.OutcomeFailed, []string{"busy"}},
		{fmt.Errorf("publish: %w", unix.EPERM), api.OutcomeFailed, []string{"publish: operation not permitted"}},
	} {
		if got := OutcomeOf(row.err); got != row.outcome {
			t.Errorf("%v: %s, want %s", row.err, got, row.outcome)
		}
		got := DetailsOf(row.err)
		if len(got) != len(row.details) {
			t.Errorf("%v: %q, want %q", row.err, got, row.details)
			continue
		}
		for i, want := range row.details {
			if !strings.Contains(got[i], want) {
				t.Errorf("%v: %q, want %q", row.err, got, row.details)
			}
		}
	}
}
