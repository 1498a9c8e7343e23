// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"net/http"

	"github.com/spillway/spillway/config/yaml"
)

var (
	// ErrUnreachable says that no agent answers on the socket. The pinned maps may still be read.
	ErrUnreachable = errors.New("no agent answers")
	// ErrLost says that the agent ended before it answered: whether a change happened must be looked up.
	ErrLost = errors.New("the agent ended before it answered")
)

// The codes of errors.
const (
	CodeBusy        = "busy"         // 409: another change is running
	CodeCancelled   = "cancelled"    // 409: its sender hung up, or no longer waits; nothing changed
	CodeConflict    = "conflict"     // 409: somebody else changed the control word meanwhile
	CodeDirect      = "direct"       // 409: this host has no stages (guards.rollout: direct)
	CodeForbidden   = "forbidden"    // 403: not on a socket of this role, or only root and the socket's group may
	CodeHeld        = "held"         // 409: pass accept with a reason; Holds say why
	CodeInternal    = "internal"     // 500
	CodeInvalid     = "invalid"      // 400: the request cannot be understood
	CodeLimit       = "limit"        // 429 or 409: a guard of the host file: rate, capacity, floor, time to live
	CodeNoCandidate = "no_candidate" // 409: nothing waits for a confirmation
	CodeNoPrevious  = "no_previous"  // 409: there is nothing to go back to
	CodeNotFound    = "not_found"    // 404
	CodeOverloaded  = "overloaded"   // 503: the socket's places are taken
	CodeProtected   = "protected"    // 422: a ban would block a protected or own address
	CodeRefused     = "refused"      // 422: the bundle or host file has faults; Faults has them
	CodeTooLarge    = "too_large"    // 413: the bundle exceeds MaxUpload
	CodeUnavailable = "unavailable"  // 503: the kernel part is not loaded; Message says why
)

// ErrNoCandidate says that nothing waits for a confirmation.
var ErrNoCandidate = &Error{Code: CodeNoCandidate,
	Message: "nothing waits for a confirmation: a candidate goes back by itself at its deadline",
	Fix:     "spillway apply BUNDLE --confirm 5m"}

// Error is how the agent refuses. It is the error of every Client method that reached the agent.
type Error struct {
	Status  int          `json:"-"` // HTTP
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Fix     string       `json:"fix,omitempty"`
	Holds   []Hold       `json:"holds,omitempty"`
	Faults  *FaultReport `json:"faults,omitempty"`
	Rollout string       `json:"rollout,omitempty"` // the id of the rollout that is refused
}

// FaultReport is a yaml.Faults in JSON.
type FaultReport struct {
	List   []yaml.Fault   `json:"list"`
	Total  int            `json:"total"`
	Counts map[string]int `json:"counts"`
}

// errorReply is the body of a refusal.
type errorReply struct {
	Envelope
	Error *Error `json:"error"`
}

// Error returns the message and, behind it, the way out.
func (e *Error) Error() string {
	text := e.Message
	for _, h := range e.Holds {
		text += "\n  " + h.Text
	}
	if e.Fix != "" {
		text += "\n" + e.Fix
	}
	return text
}

// Unwrap returns the faults as the *yaml.Faults they were, so that they print as config prints them.
func (e *Error) Unwrap() error {
	if e.Faults == nil {
		return nil
	}
	return &yaml.Faults{List: e.Faults.List, Total: e.Faults.Total, Counts: e.Faults.Counts}
}

// Refuse makes an Error of an error from config: all its faults when it has them.
func Refuse(message string, err error) *Error {
	e := &Error{Status: http.StatusUnprocessableEntity, Code: CodeRefused, Message: message}
	var faults *yaml.Faults
	if errors.As(err, &faults) {
		e.Faults = &FaultReport{List: faults.List, Total: faults.Total, Counts: faults.Counts}
	} else {
		e.Message += ": " + err.Error()
	}
	return e
}

// statusOf gives an Error without an HTTP status the one of its code.
func statusOf(e *Error) int {
	if e.Status != 0 {
		return e.Status
	}
	switch e.Code {
	case CodeForbidden:
		return http.StatusForbidden
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeRefused, CodeProtected:
		return http.StatusUnprocessableEntity
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnavailable, CodeOverloaded:
		return http.StatusServiceUnavailable
	case CodeBusy, CodeCancelled, CodeConflict, CodeDirect, CodeHeld, CodeLimit, CodeNoCandidate, CodeNoPrevious:
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}
