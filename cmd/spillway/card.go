// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/show"
	"github.com/spillway/spillway/userspace/view"
)

// The pins say what somebody put there; the network card says what a packet meets. Where both are not the same the card
// counts: a pin that is missing, hidden or another's must never read as "everything passes".

// told prints a change, and ends with another code when it does not reach everything.
func (a *app) told(change *api.Change) error {
	if err := a.print(change, func() { show.Change(a.stdout, change, a.style()) }); err != nil {
		return err
	}
	if len(change.Incomplete) > 0 {
		if a.format == formatTable && os.Geteuid() != 0 {
			fmt.Fprintf(a.stderr, "  fix: %s\n", view.AsRoot)
		}
		return with(exitDegraded)
	}
	return nil
}

// blind reports whether an error means that what is pinned says nothing of what runs.
func blind(err error) bool {
	return errors.Is(err, loader.ErrNotPinned) || errors.Is(err, loader.ErrForeignABI) ||
		errors.Is(err, pins.ErrForeignPins)
}

// reachCards switches what the agent or the pins did not reach. As root that is every root program on a card; else it
// says what it cannot read. err is why the pins did not do, nil when they did.
func (a *app) reachCards(r api.BypassRequest, change *api.Change, err error) (*api.Change, error) {
	if err != nil && !blind(err) {
		return nil, err
	}
	cards, cerr := a.env.cards()
	if cerr != nil {
		if err != nil {
			return nil, &exitCode{exitNoAgent,
				fmt.Errorf("no agent answers on %s, and nothing that can be read is pinned below %s; "+
					"whether something is attached is not known: %w",
					a.places().Socket, a.places().Pins, cerr)}
		}
		change.Incomplete = append(change.Incomplete, "what is attached is not known: "+cerr.Error())
		return change, nil
	}
	defer cards.Close()
	unread, others := cards.Unread()
	switch {
	case err == nil && len(unread) > 0: // the agent, or the pins, compared what they could
		return change, nil
	case err == nil:
		a.completed(r, change, cards, others)
		return change, nil
	case len(cards.Roots) > 0:
		change := cards.Change(r, a.places())
		change.Incomplete = unread
		return change, nil
	case len(unread) > 0:
		return nil, a.unknownCards(unread)
	case errors.Is(err, loader.ErrNotPinned) && r.On:
		// nothing to start: that is no help to whoever wants it off
		return nil, &exitCode{exitNoAgent, errors.New(a.nothingRuns(cards))}
	}
	return nil, err
}

// completed switches, as root, the cards on which something else is than what is pinned.
func (a *app) completed(r api.BypassRequest, change *api.Change, cards *offline.Cards, others []string) {
	switched := cards.Switch(offline.Deadline(r))
	if len(switched) > 0 {
		change.Details = append(change.Details,
			"not pinned here, and switched all the same, by the words of what is attached: "+strings.Join(switched, ", "))
	}
	if len(change.Incomplete) == 0 || len(cards.Roots) == 0 {
		return
	}
	change.Incomplete = others // root has read the rest
	if len(others) == 0 && r.On {
		change.Message = "bypass is on: everything passes" + view.Until(offline.Deadline(r))
	}
}

// unknownCards says that something is attached of which this user can read nothing.
func (a *app) unknownCards(unread []string) error {
	return fmt.Errorf("no agent answers on %s, nothing that can be read is pinned below %s, and %s\n  fix: %s",
		a.places().Socket, a.places().Pins, strings.Join(unread, "; "), view.AsRoot)
}

// nothingRuns says what was looked at when nothing was found.
func (a *app) nothingRuns(cards *offline.Cards) string {
	p := a.places()
	looked := fmt.Sprintf("no agent answers on %s, nothing is pinned below %s", p.Socket, p.Pins)
	if cards.Empty() {
		return "nothing of Spillway runs here, so everything passes: " + looked +
			", and no program is attached to an interface of this network namespace"
	}
	_, others := cards.Unread()
	return "nothing of Spillway runs here: " + looked + ", and what is attached is another's: " +
		strings.Join(others, "; ")
}

// notPinned is what is told where nothing is pinned: the card is looked at first.
func (a *app) notPinned() (message, fix string) {
	const start = "start it with `systemctl start spillway` or `spillway run`"
	p := a.places()
	cards, err := a.env.cards()
	if err != nil {
		return fmt.Sprintf(
			"no agent answers on %s, and nothing is pinned below %s; whether something is attached is not known: %v",
			p.Socket, p.Pins, err), start
	}
	defer cards.Close()
	if !cards.Ours() {
		return a.nothingRuns(cards), start
	}
	st := cards.Status(p)
	return fmt.Sprintf("no agent answers on %s, and nothing is pinned below %s, but: %s",
		p.Socket, p.Pins, strings.TrimSuffix(st.Says, ".")), view.AsRoot
}

// statusOfCards is the status where nothing is pinned and something is attached; err where nothing is.
func (a *app) statusOfCards(err error) (*api.Status, error) {
	cards, cerr := a.env.cards()
	if cerr != nil || !cards.Ours() {
		return nil, err
	}
	defer cards.Close()
	return cards.Status(a.places()), nil
}

// readForeign adds, as root, what the root program says that is on an interface instead of the pinned one.
func (a *app) readForeign(st *api.Status) {
	foreign := false
	for _, i := range st.Interfaces {
		foreign = foreign || i.State == api.InterfaceForeign
	}
	if !foreign || st.Source == api.SourceCards {
		return
	}
	cards, err := a.env.cards()
	if err != nil {
		return
	}
	defer cards.Close()
	for _, i := range st.Interfaces {
		root := cards.Roots[i.ProgramID]
		var other *loader.NotOurs
		switch {
		case i.State != api.InterfaceForeign:
		case root != nil && root.Bypass().Active():
			a.foreignProblem(st, fmt.Sprintf("program %d on %s is a root program of Spillway that is not the pinned one; "+
				"its bypass is on: everything passes there", i.ProgramID, i.Name), "spillway bypass off")
		case root != nil:
			a.foreignProblem(st, fmt.Sprintf("program %d on %s is a root program of Spillway that is not the pinned one; "+
				"its bypass is off, so it may block", i.ProgramID, i.Name), "spillway bypass on lets everything pass there too")
		case errors.As(cards.Failed[i.ProgramID], &other):
			a.foreignProblem(st, fmt.Sprintf("%v: it is on %s", other, i.Name), "take it off with the tool that put it there")
		}
	}
}

func (a *app) foreignProblem(st *api.Status, message, fix string) {
	st.Problems = append(st.Problems, api.Problem{Code: "foreign_read", Message: message, Fix: fix})
}
