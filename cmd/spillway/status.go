// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
	"github.com/spillway/spillway/userspace/view"
)

// patience is how long a question may take.
const patience = 10 * time.Second

func (a *app) newStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what Spillway does now",
		Long: `Show what Spillway does now: whether visitors are protected, in which mode, by
which bundle, what was blocked and why, and what is wrong. Works without the
agent, on the pinned maps, and as root on what is attached to the cards. What
cannot be read is called UNKNOWN.

Exit code 0 when it protects or observes and nothing is wrong, 4 when something
is wrong (not attached, bypass on, no agent, drift, unknown), 3 when nothing of
Spillway runs here.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := a.status(c.Context())
			if err != nil {
				return err
			}
			if err := a.print(st, func() { show.Status(a.stdout, st, a.style()) }); err != nil {
				return err
			}
			well := st.State == api.StateProtected || st.State == api.StateObserving
			if !well || len(st.Problems) > 0 {
				return with(exitDegraded)
			}
			return nil
		},
	}
}

// status asks the agent, or reads the pinned maps when none answers.
func (a *app) status(ctx context.Context) (*api.Status, error) {
	st, err := ask(ctx, a, (*api.Client).Status, (*offline.Session).Status)
	if blind(err) {
		return a.statusOfCards(err)
	}
	if err == nil {
		ofOlder(st)
		a.readForeign(st)
	}
	return st, err
}

// ofOlder gives the status of an agent before this build's, which says no sentence, the one that is true of it.
func ofOlder(st *api.Status) {
	if st.Agent == nil || st.State != "" || st.Says != "" {
		return
	}
	st.State, st.Says = api.StateUnknown, fmt.Sprintf("UNKNOWN: the agent (%s) is of another version and does not say; "+
		"restart it: systemctl restart spillway.", st.Agent.Version)
	if st.Bypass.Active {
		st.State, st.Says = api.StateBypassed,
			"BYPASS IS ON: the agent is of another version, and says that everything passes."
	}
}

// ask puts a question to the agent, and to the pinned maps when no agent answers in time.
func ask[T any](ctx context.Context, a *app, agent func(*api.Client, context.Context) (*T, error),
	pins func(*offline.Session) (*T, error)) (*T, error) {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := a.client()
	defer client.Close()
	reply, err := agent(client, short)
	if err == nil || !a.silent(ctx, err) && !errors.Is(err, api.ErrLost) {
		return reply, err
	}
	hung := err
	s, err := a.openPins(err)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	a.tellHung(hung)
	return pins(s)
}

// tellHung names an agent that hangs, before something is done without it.
func (a *app) tellHung(err error) {
	var hung *api.Hung
	if errors.As(err, &hung) {
		fmt.Fprintf(a.stderr, "spillway: %s\n  fix: %s\n", hung, hungFix)
	}
}

// hungFix is the way out beside an agent that hangs.
const hungFix = "systemctl restart spillway (what the kernel enforces goes on)"

// silent reports whether an error means that no agent answers: nobody listens, or it hangs. The caller's own end is
// neither.
func (a *app) silent(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	return errors.Is(err, api.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*api.Hung))
}

// openPins opens the pinned maps because the agent did not answer. When nothing is pinned either, but there is an agent
// that this user may not ask, that is what must be told.
func (a *app) openPins(why error) (*offline.Session, error) {
	p := a.places()
	var hung *api.Hung
	switch {
	case errors.As(why, &hung):
		p.Agent, p.AgentPID = view.Hung, hung.PID
	case errors.Is(why, fs.ErrPermission):
		p.Agent = view.Unasked
	}
	s, err := a.env.pins(p, a.now)
	if errors.Is(err, loader.ErrNotPinned) && (errors.Is(why, fs.ErrPermission) || errors.As(why, new(*api.Hung))) {
		return nil, why
	}
	return s, err
}
