// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// standing compares the bundle with what is in force. unchanged says that there is nothing to do, and change says so.
func (a *agent) standing(d dataplane, b *config.Bundle, change *api.Change) (stable *config.Bundle, unchanged bool, err error) {
	all, err := d.Generations()
	if err != nil {
		return nil, false, err
	}
	c := d.Control()
	if g, ok := generationIn(all, c.Candidate); ok {
		if g.Digest == b.Digest {
			change.Outcome, change.Number = api.OutcomeUnchanged, g.Number
			change.Message = "this bundle is the candidate already and waits for `spillway confirm`"
			if r := a.state(); r.Confirm != nil {
				change.Deadline = r.Confirm.Deadline
			}
			return nil, true, nil
		}
		return nil, false, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("generation %d waits for a confirmation", g.Number), Fix: "`spillway confirm` keeps it, `spillway rollback` ends it; then apply again"}
	}
	g, ok := generationIn(all, c.Stable)
	if !ok {
		return nil, false, nil
	}
	if g.Digest == b.Digest {
		change.Outcome, change.Number = api.OutcomeUnchanged, g.Number
		change.Message = fmt.Sprintf("this bundle is in force already, as generation %d", g.Number)
		return nil, true, nil
	}
	old, err := a.store.Bundle(g.Digest)
	if err != nil && !errors.Is(err, state.ErrNoBundle) {
		return nil, false, &api.Error{Code: api.CodeUnavailable, Message: "nothing changed: what it would newly block cannot be judged: " + err.Error(),
			Fix: "repair the disk; or move that file away, and growth is not judged"}
	}
	if err != nil {
		a.log.Warn("the stable bundle is not on disk: growth cannot be judged", "error", err)
		return nil, false, nil
	}
	return old, false, nil
}

// held refuses what a person must look at, unless one accepted it with a reason.
func (a *agent) held(b, stable *config.Bundle, accept string) error {
	if strings.TrimSpace(accept) != "" {
		return nil
	}
	holds := a.holds(b, stable)
	if len(holds) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeHeld, Message: "the bundle is valid, and a person must accept it; what is in force goes on", Holds: holds, Fix: `look at it with ` + "`spillway plan`" + `, then apply with --accept "reason"`}
}

func (a *agent) holds(b, stable *config.Bundle) []api.Hold {
	var out []api.Hold
	for _, h := range config.Holds(stable, b, a.hostFile()) {
		out = append(out, api.Hold{Code: h.Code, Text: h.Text})
	}
	for _, q := range a.state().Quarantine {
		if q.Holds(b.Name, b.Digest) && a.now().Sub(q.At) < quarantineFor {
			text := fmt.Sprintf("this very bundle was rolled back at %s by %s", q.At.UTC().Format(time.RFC3339), q.By)
			if q.Reason != "" {
				text += ": " + q.Reason
			}
			out = append(out, api.Hold{Code: "quarantined", Text: text})
			break
		}
	}
	return out
}
