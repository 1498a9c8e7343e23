// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
)

// panicPatience is how long a person in an emergency waits for the agent before the pinned maps are changed directly.
const panicPatience = 3 * time.Second

func (a *app) newBypass() *cobra.Command {
	var r api.BypassRequest
	var length time.Duration
	c := &cobra.Command{
		Use: "bypass on|off", Short: "Let everything pass, or end that",
		Long: `Let everything pass (on), or judge again (off). It is one store in the kernel
and takes effect with the next packet; the network card is not touched. It works
without the agent, with a broken host file, and with a full disk. Bans pass too.

  spillway bypass on                    everything passes until bypass off
  spillway bypass on --for 30m          … and ends by itself
  spillway bypass on --service web      one service only

As root it also switches what is attached to a card and not pinned here: pins
may be hidden, moved, or those of another version.

Exit code 4 when an interface has a program that was not reached, or of which
nobody knows whether it was; 3 when nothing of Spillway runs here.`,
		Args: oneArg("word: on or off"), ValidArgs: []string{"on", "off"},
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "on", "off":
				r.On = args[0] == "on"
			default:
				return usage("want on or off, not %q", args[0])
			}
			if !r.On && length > 0 {
				return usage("--for goes with bypass on only")
			}
			r.ForSeconds = length.Seconds()
			change, err := a.bypass(c.Context(), r)
			if err != nil {
				return err
			}
			return a.told(change)
		},
	}
	c.Flags().StringVar(&r.Service, "service", "", "one service instead of everything")
	c.Flags().Var(durationFlag{&length}, "for", "end by itself after this time (30m, 2h)")
	c.Flags().Var(textFlag{&r.Reason}, "reason", "why, for the history")
	_ = c.RegisterFlagCompletionFunc("service", values(a.serviceNames))
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"10m", "30m", "1h"},
		cobra.ShellCompDirectiveNoFileComp))
	return c
}

// bypass asks the agent, and changes the pinned word itself when the agent is gone, hangs, or has lost its kernel part.
func (a *app) bypass(ctx context.Context, r api.BypassRequest) (*api.Change, error) {
	change, err := a.urgent(ctx, true,
		func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Bypass(ctx, r) },
		func(s *offline.Session) (*api.Change, error) { return s.Bypass(r) })
	var refusal *api.Error
	if errors.As(err, &refusal) && refusal.Code == api.CodeNotFound {
		if near := words.NearestName(r.Service, a.serviceNames()); near != "" {
			refusal.Fix = fmt.Sprintf("did you mean %s?", near)
		}
	}
	if r.Service != "" {
		return change, err
	}
	return a.reachCards(r, change, err)
}
