// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"cmp"
	"slices"
	"sync"

	"github.com/spillway/spillway/userspace/api"
)

// The keys of problems that come and go.
const (
	ProblemKernel  = "kernel"
	ProblemState   = "state"
	ProblemUnread  = "state_unread"
	ProblemBundle  = "bundle_unread"
	ProblemHistory = "history"
	ProblemAPI     = "api"
	ProblemRead    = "api_read"
	ProblemEvents  = "events"
	ProblemMetrics = "metrics"
	ProblemHost    = "host_not_published"
	ProblemLKG     = "no_last_known_good"
	ProblemVerify  = "verify"
	ProblemBans    = "bans_not_restored"
	ProblemBanDisk = "bans_not_recorded"
	ProblemUnnamed = "unnamed_interface"
	ProblemOwner   = "pins_not_owned"
	ProblemReload  = "reload_held"
	ProblemKept    = "host_file_not_kept"
	ProblemMode    = "mode_held"
	ProblemQueue   = "queue_not_kept"
	ProblemStages  = "stages_not_kept"
	ProblemEgress  = "egress"
	ProblemRelease = "sockets_not_released"
	ProblemBoot    = "crashed_at_start"
)

// problems are those that hold now.
type problems struct {
	mu  sync.Mutex
	all map[string]api.Problem
}

// SetProblem says loudly, once, that something is wrong; status shows it until ClearProblem.
func (l *Ledger) SetProblem(code, message, fix string) {
	l.problems.mu.Lock()
	old, known := l.problems.all[code]
	p := api.Problem{Code: code, Message: message, Fix: fix, Since: l.now().UTC()}
	if known {
		p.Since = old.Since
	}
	l.problems.all[code] = p
	l.problems.mu.Unlock()
	if !known || old.Message != message {
		l.log.Error("problem", "code", code, "message", message, "fix", fix)
	}
}

// Problem returns a problem that holds.
func (l *Ledger) Problem(code string) (api.Problem, bool) {
	l.problems.mu.Lock()
	defer l.problems.mu.Unlock()
	p, ok := l.problems.all[code]
	return p, ok
}

// ClearProblem says that a problem is over, if it held.
func (l *Ledger) ClearProblem(code string) {
	l.problems.mu.Lock()
	_, known := l.problems.all[code]
	delete(l.problems.all, code)
	l.problems.mu.Unlock()
	if known {
		l.log.Info("problem is over", "code", code)
	}
}

// Problems returns the problems, those of the kernel part first.
func (l *Ledger) Problems() []api.Problem {
	l.problems.mu.Lock()
	defer l.problems.mu.Unlock()
	out := make([]api.Problem, 0, len(l.problems.all))
	for _, p := range l.problems.all {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y api.Problem) int {
		return cmp.Or(cmp.Compare(rank(x.Code), rank(y.Code)), cmp.Compare(x.Code, y.Code))
	})
	return out
}

func rank(code string) int {
	switch code {
	case ProblemKernel:
		return 0
	case ProblemHost, ProblemLKG, ProblemVerify, ProblemBans:
		return 1
	}
	return 2
}
