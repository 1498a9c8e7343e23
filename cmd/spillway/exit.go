// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
)

// The exit codes; `spillway help exit-codes` explains them.
const (
	exitOK       = 0
	exitError    = 1
	exitChanges  = 2
	exitNoAgent  = 3
	exitDegraded = 4
	// What became of a rollout that goes in stages.
	exitRefused   = 5
	exitHeld      = 6
	exitTakenBack = 7
	exitWithdrawn = 8
	exitUsage     = 64 // EX_USAGE of sysexits.h
)

const exitCodes = `Exit codes are the same for every command:

  0   all is well, or it was done
  1   an error: a refusal, a failure; the message says what to do
  2   plan (and apply --dry-run): there are changes
  3   no agent answers and the command needs one, or nothing runs at all. Who
      waits (apply --wait, rollout --follow) waits for the agent too; 3 then
      says that it came back and does not know what became of it
  4   status, verify, doctor: it works, but not as it should; a change: it is
      done, and does not reach every interface, or nobody knows whether it does
  5   apply, rollout --follow, in stages: a gate refused the rollout; it decided
      for nobody. apply --wait: it was refused, also before it began
  6   the same: it is held; what was stable before decides, and a person goes on
  7   the same: it was taken back after it had decided
  8   the same: it was withdrawn, by a person or by the rollout that replaced it
  64  the command line cannot be understood

GNU diff uses 1 for "there are differences"; plan uses 2, so that an error is
never taken for a difference.
`

// exitCode carries an exit code. An err of nil prints nothing: the command has said it all.
type exitCode struct {
	code int
	err  error
}

func (e *exitCode) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitCode) Unwrap() error { return e.err }

// with ends a command with a code after its output.
func with(code int) error { return &exitCode{code: code} }

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return &exitCode{exitUsage, fmt.Errorf(format, args...)}
}

// explained is a failure as it is told: what happened, and the way out.
type explained struct {
	code    int
	faults  string // of a refused file
	message string
	fix     string
	api     *api.Error // set when the agent refused
}

// explain turns an error into what a person reads.
func (a *app) explain(err error) explained {
	e := explained{code: exitError, message: err.Error()}
	var coded *exitCode
	if errors.As(err, &coded) {
		e.code = coded.code
	}
	var faults *yaml.Faults
	var unknown *offline.UnknownService
	var hung *api.Hung
	var became *became
	switch {
	case errors.As(err, &became):
		e.message, e.fix = became.message, became.fix
	case a.interrupted():
		e.message, e.fix = "interrupted",
			"what the agent had not begun is cancelled, what it had is carried out whole; to see it: spillway status"
	case errors.As(err, &hung):
		e.code, e.message, e.fix = exitNoAgent, hung.Error(), hungFix
	case errors.Is(err, api.ErrLost):
		e.code = exitNoAgent
		e.message, e.fix = api.ErrLost.Error(),
			"`spillway status` shows whether it happened; the agent's log says why it ended"
	case errors.As(err, &e.api):
		e.message, e.fix = e.api.Message, e.api.Fix
		for _, h := range e.api.Holds {
			e.message += "\n  " + h.Text
		}
		if errors.As(err, &faults) {
			e.faults = faults.Error()
		}
	case errors.As(err, &faults):
		e.faults, e.message = faults.Error(), "refused: "+count(faults.Total, "fault")
	case errors.As(err, &unknown):
		if near := words.NearestName(unknown.Name, unknown.Have); near != "" {
			e.fix = fmt.Sprintf("did you mean %s?", near)
		}
	case errors.Is(err, api.ErrUnreachable) && errors.Is(err, fs.ErrPermission):
		e.message, e.fix = "this user may not use the agent's socket "+a.places().Socket,
			"run it with sudo, or as a member of the socket's group (listen.group in the host file)"
	case errors.Is(err, loader.ErrPermission):
		if os.Geteuid() != 0 {
			e.fix = "run it with sudo"
		}
	case errors.Is(err, api.ErrUnreachable):
		e.code = exitNoAgent
		e.message = "no agent answers on " + a.places().Socket
		e.fix = "start it with `systemctl start spillway` or `spillway run`"
	case errors.Is(err, loader.ErrNotPinned):
		e.code = exitNoAgent
		e.message, e.fix = a.notPinned()
	case errors.Is(err, offline.ErrHeld):
		e.fix = "stop the agent first: `systemctl stop spillway` (what the kernel enforces goes on); `spillway bypass on` works at any time"
	}
	return e
}

// interrupted reports whether somebody ended the command: Ctrl-C, a signal, a terminal that closed.
func (a *app) interrupted() bool { return a.ctx != nil && a.ctx.Err() != nil }

// fail tells an error: on stderr for people, and as JSON on stdout when JSON was asked for.
func (a *app) fail(err error, started bool) int {
	var coded *exitCode
	if errors.As(err, &coded) && coded.err == nil {
		return coded.code
	}
	e := a.explain(err)
	if !started {
		e.code = exitUsage // the command itself never ran: its flags or arguments are wrong
		a.stderr = &plainWriter{to: a.stderr}
	}
	e.message, e.fix = visibleLines(e.message), visibleLines(e.fix)
	if e.faults != "" {
		fmt.Fprintln(a.stderr, e.faults) // as config prints them: file:line:col first, for editors
	}
	if e.message != "" {
		fmt.Fprintf(a.stderr, "spillway: %s\n", e.message)
	}
	if e.fix != "" {
		fmt.Fprintf(a.stderr, "  fix: %s\n", e.fix)
	}
	if a.format == formatJSON {
		reply := e.api
		if reply == nil {
			reply = &api.Error{Code: codeOf(e.code), Message: e.message, Fix: e.fix}
			var faults *yaml.Faults
			if errors.As(err, &faults) {
				reply = api.Refuse("refused", err)
			}
		}
		_ = writeJSON(a.stdout, struct {
			api.Envelope
			Error *api.Error `json:"error"`
		}{api.NewEnvelope(), reply})
	}
	return e.code
}

// visibleLines keeps the lines of a message that has several.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = api.Visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// codeOf names, for programs, what went wrong on this side of the socket.
func codeOf(code int) string {
	switch code {
	case exitUsage:
		return "usage"
	case exitNoAgent:
		return "unreachable"
	}
	return "failed"
}

func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodes}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
