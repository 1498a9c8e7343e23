// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/userspace/api"
)

// OutcomeOf is what the history says of an error.
func OutcomeOf(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		switch e.Code {
		case api.CodeRefused:
			return api.OutcomeRefused
		case api.CodeHeld:
			return api.OutcomeHeld
		}
	}
	return api.OutcomeFailed
}

// DetailsOf returns the lines of a refusal for the history.
func DetailsOf(err error) []string {
	var e *api.Error
	if !errors.As(err, &e) {
		return []string{err.Error()}
	}
	var out []string
	for _, h := range e.Holds {
		out = append(out, h.Text)
	}
	if e.Faults == nil {
		return append([]string{e.Message}, out...)
	}
	for _, f := range e.Faults.List {
		out = append(out, f.String())
	}
	if more := e.Faults.Total - len(e.Faults.List); more > 0 {
		out = append(out, fmt.Sprintf("and %d more faults", more))
	}
	return out
}
