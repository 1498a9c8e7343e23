// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"strings"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

// Reload takes the new host file whole or not at all. A request that asks is held when the
// file can newly block; one that does not ask was meant, and its reply says what can.
func (a *agent) Reload(ctx context.Context, by api.Caller, r api.ReloadRequest) (*api.Change, error) {
	_ = a.opts.Notify.Send(sdnotify.Reloading, sdnotify.Monotonic())
	defer func() { _ = a.opts.Notify.Send(sdnotify.Ready) }()
	detail, err := a.reload(ctx, by, r)
	if r.Ask && ledger.OutcomeOf(err) == api.OutcomeHeld {
		return nil, err // a question is no line of the history
	}
	return a.reloaded(a.ledger.Entry(by, "reload", r.Reason), detail, err)
}

// hangUp is a reload that a signal asked for. Nobody reads its answer, so while another change runs it is kept for the
// next tick instead of being refused. And a signal says no yes (a terminal sends one when it closes): what can newly
// block is held, and status says so.
func (a *agent) hangUp(ctx context.Context) {
	if !a.hungUp.Load() {
		return
	}
	detail, err := a.reload(ctx, ledger.Itself(), api.ReloadRequest{Ask: true})
	var refused *api.Error
	if errors.As(err, &refused) && (refused.Code == api.CodeBusy || refused.Code == api.CodeConflict) {
		a.log.Info("SIGHUP: the host file is read later", "because", refused.Message)
		return
	}
	a.hungUp.Store(false)
	_ = a.opts.Notify.Send(sdnotify.Ready)
	if _, err := a.reloaded(a.ledger.Entry(ledger.Itself(), "reload", "SIGHUP"), detail, err); err != nil {
		a.log.Error("the host file was not reloaded; the old one goes on", "error", err)
	}
	if ledger.OutcomeOf(err) == api.OutcomeHeld {
		a.ledger.SetProblem(ledger.ProblemReload,
			"the host file on disk is not in force; it can newly block: "+holdTexts(refused), "spillway reload")
	}
}

func holdTexts(e *api.Error) string {
	var texts []string
	for _, h := range e.Holds {
		texts = append(texts, h.Text)
	}
	return strings.Join(texts, "; ")
}

// reloaded writes down how a reload went, and says so.
func (a *agent) reloaded(e state.Entry, detail []string, err error) (*api.Change, error) {
	e.Detail = detail
	if err != nil {
		e.Outcome, e.Detail = ledger.OutcomeOf(err), append(e.Detail, ledger.DetailsOf(err)...)
		a.ledger.Audit(e)
		return nil, err
	}
	e.Outcome = api.OutcomeDone
	a.ledger.Audit(e)
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone,
		Message: "the host file is in force", Details: detail}, nil
}

// reload puts the host file on disk into force, and asks for the stages of what comes in them.
func (a *agent) reload(ctx context.Context, by api.Caller, r api.ReloadRequest) ([]string, error) {
	a.reloading.Store(true)
	defer a.reloading.Store(false)
	hf := hostFiles{a}
	detail, file, err := hf.take(ctx, r)
	if err != nil {
		return nil, err
	}
	return append(detail, hf.inStages(by, file, r)...), nil
}
