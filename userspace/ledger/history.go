// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"encoding/json"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Entry begins a line of the history.
func (l *Ledger) Entry(by api.Caller, verb, reason string) state.Entry {
	return state.Entry{At: l.now(), UID: by.UID, User: by.User, Verb: verb, Reason: reason}
}

// Audit writes a line of the history. It cannot stop a change that happened.
func (l *Ledger) Audit(e state.Entry) {
	log := l.log.With("verb", e.Verb, "outcome", e.Outcome, "user", e.User, "uid", e.UID, "reason", e.Reason)
	if e.Name != "" {
		log = log.With("name", e.Name)
	}
	if !e.Digest.IsZero() {
		log = log.With("digest", e.Digest.Short(), "number", e.Number)
	}
	log.Info("change")
	if err := l.store.Append(e); err != nil {
		l.SetProblem(ProblemHistory, err.Error(), "free or repair the disk; changes are in the log")
		return
	}
	l.ClearProblem(ProblemHistory)
}

// Itself is the caller of what the agent does by itself.
func Itself() api.Caller { return api.Caller{User: "agent"} }

// Note adds to a change that happened what did not: it was not remembered.
func Note(change *api.Change, err error) {
	if err != nil {
		change.Details = append(change.Details, "the kernel has it, but the disk refused the record: "+err.Error())
	}
}

// History tells the newest lines; all of them when limit is 0.
func (l *Ledger) History(_ context.Context, limit int) (*api.History, error) {
	entries, skipped, err := l.store.History(limit)
	if err != nil {
		return nil, err
	}
	return reply(entries, skipped), nil
}

// Forbidden writes down that a caller who may not change anything tried to.
func (l *Ledger) Forbidden(by api.Caller, verb string) {
	e := l.Entry(by, verb, "")
	e.Outcome, e.Detail = api.OutcomeRefused, []string{"not root, and not in the socket's group"}
	l.Audit(e)
}

// reply turns lines of the history into the API's form.
func reply(entries []state.Entry, skipped int) *api.History {
	out := &api.History{Envelope: api.NewEnvelope(), Entries: make([]api.HistoryEntry, 0, len(entries)), Skipped: skipped}
	for _, e := range entries {
		out.Entries = append(out.Entries, told(e))
	}
	return out
}

// told is one line in the API's form. A decision that cannot be read is left out: what was done is told all the same.
func told(e state.Entry) api.HistoryEntry {
	h := api.HistoryEntry{At: e.At, UID: e.UID, User: e.User, Verb: e.Verb, Reason: e.Reason, Digest: e.Digest,
		Name: e.Name, Number: e.Number, Outcome: e.Outcome, Detail: e.Detail}
	var d api.Decision
	if len(e.Decision) > 0 && json.Unmarshal(e.Decision, &d) == nil {
		h.Decision = &d
	}
	return h
}
