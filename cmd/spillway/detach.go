// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
)

func (a *app) newDetach() *cobra.Command {
	var yes bool
	var reason, pins string
	c := &cobra.Command{
		Use: "detach", Short: "Take everything out of the kernel",
		Long: `Take programs, maps and links out of the kernel. Everything passes then. Most
network cards reset their rings when the last program goes: expect a short gap.
To let everything pass without touching the card, use: spillway bypass on

It asks on a terminal, and wants --yes elsewhere. Stop the agent first, or it
attaches again. It also removes what another version left behind.

Exit code 3 when there is nothing to detach, 4 when a program is still attached
when it is done.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			p := a.places()
			if pins != "" {
				p.Pins = pins
			}
			if err := a.mayDetach(c.Context(), p); err != nil {
				return err
			}
			if err := a.confirmed(yes, "Take Spillway out of the kernel? Most network cards reset for a moment."); err != nil {
				return err
			}
			change, err := offline.Detach(p, reason, a.now)
			if err != nil {
				return err
			}
			return a.told(change)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	c.Flags().StringVar(&pins, "pins", "", "the pin folder, when it is not the host file's")
	return c
}

// mayDetach refuses when there is nothing to detach, or an agent that would attach again.
func (a *app) mayDetach(ctx context.Context, p offline.Places) error {
	pinned, err := offline.Pinned(p)
	if errors.Is(err, loader.ErrPermission) {
		return err
	}
	if !pinned {
		return &exitCode{exitNoAgent, a.nothingToDetach(p)}
	}
	short, cancel := context.WithTimeout(ctx, panicPatience)
	defer cancel()
	client := api.NewClient(p.Socket)
	defer client.Close()
	if _, err := client.Status(short); err == nil || errors.As(err, new(*api.Error)) {
		return errors.New(
			"an agent runs and would attach again\n  fix: stop it first: `systemctl stop spillway`; then detach")
	}
	return nil
}

// nothingToDetach says that nothing is pinned, and what is attached all the same.
func (a *app) nothingToDetach(p offline.Places) error {
	none := fmt.Errorf("there is nothing to detach: nothing is pinned below %s", p.Pins)
	cards, err := a.env.cards()
	if err != nil {
		return fmt.Errorf("%w; whether something is attached is not known: %w", none, err)
	}
	defer cards.Close()
	if !cards.Ours() {
		return fmt.Errorf("%w, and nothing of Spillway is attached to an interface of this network namespace", none)
	}
	return fmt.Errorf("nothing was detached: nothing is pinned below %s, but: %s\n"+
		"  fix: detach with the pins it was started with (--pins, or in its mount namespace); until then: sudo spillway bypass on",
		p.Pins, strings.TrimSuffix(cards.Status(p).Says, "."))
}

// confirmed asks a person at a terminal. Elsewhere nobody can be asked, so --yes must have been given.
func (a *app) confirmed(yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.stdinTTY {
		return errors.New("nobody is there to be asked\n  fix: pass --yes")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not done: nothing was changed")
}
