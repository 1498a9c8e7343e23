// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/rights"
)

// The keys of problems that come and go.
const (
	problemKernel  = "kernel"
	problemState   = "state"
	problemUnread  = "state_unread"
	problemBundle  = "bundle_unread"
	problemHistory = "history"
	problemAPI     = "api"
	problemRead    = "api_read"
	problemEvents  = "events"
	problemMetrics = "metrics"
	problemHost    = "host_not_published"
	problemLKG     = "no_last_known_good"
	problemVerify  = "verify"
	problemBans    = "bans_not_restored"
	problemBanDisk = "bans_not_recorded"
	problemUnnamed = "unnamed_interface"
	problemOwner   = "pins_not_owned"
	problemReload  = "reload_held"
	problemHostOld = hostfile.CodeNotInForce
	problemKept    = "host_file_not_kept"
	problemMode    = "mode_held"
	problemQueue   = "queue_not_kept"
	problemEgress  = "egress"
	problemRelease = "sockets_not_released"
)

// setProblem says loudly, once, that something is wrong; status shows it until clearProblem.
func (a *agent) setProblem(code, message, fix string) {
	a.mu.Lock()
	old, known := a.problems[code]
	p := api.Problem{Code: code, Message: message, Fix: fix, Since: a.now().UTC()}
	if known {
		p.Since = old.Since
	}
	a.problems[code] = p
	a.mu.Unlock()
	if !known || old.Message != message {
		a.log.Error("problem", "code", code, "message", message, "fix", fix)
	}
}

func (a *agent) clearProblem(code string) {
	a.mu.Lock()
	_, known := a.problems[code]
	delete(a.problems, code)
	a.mu.Unlock()
	if known {
		a.log.Info("problem is over", "code", code)
	}
}

// listProblems returns the problems, those of the kernel part first.
func (a *agent) listProblems() []api.Problem {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]api.Problem, 0, len(a.problems))
	for _, p := range a.problems {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y api.Problem) int {
		return cmp.Or(cmp.Compare(rank(x.Code), rank(y.Code)), cmp.Compare(x.Code, y.Code))
	})
	return out
}

func rank(code string) int {
	switch code {
	case problemKernel:
		return 0
	case problemHost, problemLKG, problemVerify, problemBans:
		return 1
	}
	return 2
}

// fixOf says how a person mends what the loader reports.
func fixOf(err error) string {
	var foreign *loader.ForeignError
	switch {
	case errors.Is(err, loader.ErrOwned):
		return fixOfOwner(err)
	case errors.As(err, &foreign) && foreign.Newer():
		return "start the later version again, or `spillway detach` and start this one: traffic passes unprotected in between; `spillway bypass on` works at any time"
	case errors.Is(err, loader.ErrForeignABI):
		return "run `spillway detach`, then start the agent again: traffic passes unprotected in between"
	case errors.Is(err, loader.ErrRemoved):
		return "systemctl restart spillway: the unit makes the folder again, and last-known-good comes from the disk"
	case errors.Is(err, loader.ErrForeignPins):
		return "look whose it is, remove it as root, and start the agent again"
	case errors.Is(err, loader.ErrForeignProgram):
		return "remove the other XDP program, or take the interface out of the host file; Spillway never replaces it"
	case errors.Is(err, loader.ErrNoMAC):
		return loader.FixWithoutMAC
	case errors.Is(err, loader.ErrNoDevice):
		return "it is attached as soon as the interface appears; correct its name in the host file if it never will"
	case errors.Is(err, loader.ErrPermission):
		return "run the agent as root, or as its unit does, with " + rights.Sentence()
	case errors.Is(err, loader.ErrStale):
		return "nothing: the agent starts itself in a new process"
	case errors.Is(err, loader.ErrCapacity):
		return "raise the capacity in the host file and restart the agent, or make the bundle smaller"
	}
	return "`spillway doctor` says what is missing"
}

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// retry spaces attempts with full jitter, so that a fleet whose hosts failed together does not come back together.
type retry struct {
	ceiling time.Duration
	next    time.Time
}

func (r *retry) due(now time.Time) bool { return !now.Before(r.next) }

func (r *retry) failed(now time.Time) {
	r.ceiling = min(max(2*r.ceiling, firstRetry), lastRetry)
	r.next = now.Add(time.Duration(rand.Int64N(int64(r.ceiling)) + 1))
}

func (r *retry) reset() { *r = retry{} }
