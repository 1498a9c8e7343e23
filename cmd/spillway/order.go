// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
)

// order is one command about a rollout that goes in stages.
type order struct {
	verb, short, long string
	fits              func(*api.Rollout) bool // which rollouts it can be about
}

const noSuch = `

Without a number it is the one rollout that it can be about. Exit code 1 when
nothing changed, 3 when no agent answers.`

var orders = []order{
	{api.OrderPause, "Let no stage go on", `Let no stage of a rollout go on until spillway rollout resume. Gates that look
for harm look on, and take it back all the same.` + noSuch,
		func(ro *api.Rollout) bool { return begun(ro) && ro.Staged.Paused == "" }},
	{api.OrderResume, "Let a paused or held rollout go on",
		`Let a rollout go on that is paused. One that is held begins again with taste, and
its canary has other sources.` + noSuch,
		func(ro *api.Rollout) bool {
			return ro.State == api.RolloutHeld || underWay(ro) && ro.Staged.Paused != ""
		}},
	{api.OrderPromote, "End a stage although its evidence does not suffice",
		`End the stage in which a rollout is, although its evidence does not suffice; in
a bake: make it last-known-good now. It skips no taste, and not the ten seconds
of shadow in which a protected source would show.` + noSuch, begun},
	{api.OrderAccept, "Accept that so many visitors are newly blocked",
		`Say that so many new blocks are meant, of all votes and by any rule. The host's
guards.max_new_blocks is the most. A protected source that is hit cannot be
accepted. One that is held begins again with taste.

  spillway rollout accept --blocks 2% --reason "a farm behind one network"` + noSuch,
		func(ro *api.Rollout) bool { return ro.State == api.RolloutHeld || begun(ro) }},
	{api.OrderConfirm, "Keep what apply --confirm is about",
		`Say that a rollout that was begun with --confirm may stay. Without it, it goes
back by itself when its time is over.` + noSuch,
		func(ro *api.Rollout) bool { return underWay(ro) && ro.Staged.Unconfirmed }},
	{api.OrderAbort, "End a rollout", `End a rollout that runs, waits or is held. What was stable before decides.
Nothing is condemned: the same bundle can be applied again.` + noSuch,
		func(ro *api.Rollout) bool { return ro.State == api.RolloutHeld || underWay(ro) }},
}

func (a *app) newOrder(o order) *cobra.Command {
	given := api.Order{Verb: o.verb}
	c := &cobra.Command{
		Use: o.verb + " [ROLLOUT]", Short: o.short, Long: o.long,
		Args: maybeOneArg("rollout: its number in spillway rollout"),
		ValidArgsFunction: first(func() []string {
			return a.rolloutIDs(func(ro *api.Rollout) bool { return ro.Staged != nil && o.fits(ro) })
		}),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case given.Reason == "" && o.verb != api.OrderConfirm:
				return usage("%s wants --reason: the history keeps it", o.verb)
			case given.Share == 0 && o.verb == api.OrderAccept:
				return usage("accept wants --blocks: how many, of all votes (2%%)")
			}
			given.ID = firstOr(args, "")
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
				if given.ID == "" {
					all, err := c.Rollouts(ctx)
					if err != nil {
						a.withoutStages(err)
						return nil, err
					}
					ro, err := pick(all, o.verb, o.fits)
					if err != nil {
						return nil, err
					}
					given.ID = ro.ID
				}
				return c.Order(ctx, given)
			})
		},
	}
	c.Flags().Var(textFlag{&given.Reason}, "reason", "why, for the history")
	if o.verb == api.OrderAccept {
		c.Flags().Var(shareFlag{&given.Share}, "blocks", "share of the votes that may be newly blocked (2%)")
	}
	return c
}

func (a *app) newFreeze() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "freeze", Short: "Let nothing roll out by itself",
		Long: `Let no change start by itself until spillway thaw: what is asked for waits. What
runs goes on; what can only let more pass, and emergencies, still start. Two
rollouts that are taken back within an hour freeze by themselves.

Exit code 1 when nothing changed, 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ofAll(c.Context(), api.Order{Verb: api.OrderFreeze, Reason: reason})
		},
	}
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	return c
}

func (a *app) newThaw() *cobra.Command {
	var reason, of string
	c := &cobra.Command{
		Use: "thaw", Short: "End a freeze, or a quarantine",
		Long: `End a freeze: changes start by themselves again. With --quarantine a bundle also
leaves the quarantine, by the beginning of its digest in spillway rollout.

Exit code 1 when nothing changed, 3 when no agent answers.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			o := api.Order{Verb: api.OrderThaw, Reason: reason}
			if of == "" {
				return a.ofAll(c.Context(), o)
			}
			return a.viaAgent(c.Context(), func(ctx context.Context, c *api.Client) (*api.Change, error) {
				if reason == "" {
					return nil, noReason(o)
				}
				q, err := condemned(ctx, c, of)
				if err != nil {
					return nil, err
				}
				o.Digest = q.Digest
				return c.Order(ctx, o)
			})
		},
	}
	c.Flags().Var(textFlag{&of}, "quarantine", "let the bundle with this digest out of quarantine")
	c.Flags().Var(textFlag{&reason}, "reason", "why, for the history")
	_ = c.RegisterFlagCompletionFunc("quarantine", values(a.quarantined))
	return c
}

func noReason(o api.Order) error { return usage("%s wants --reason: the history keeps it", o.Verb) }

// ofAll gives an order that is about no single rollout.
func (a *app) ofAll(ctx context.Context, o api.Order) error {
	if o.Reason == "" {
		return noReason(o)
	}
	return a.viaAgent(ctx, func(ctx context.Context, c *api.Client) (*api.Change, error) { return c.Order(ctx, o) })
}

// condemned finds a bundle in quarantine by the beginning of its digest.
func condemned(ctx context.Context, c *api.Client, of string) (*api.Quarantined, error) {
	all, err := c.Rollouts(ctx)
	switch {
	case err != nil:
		return nil, err
	case all.Stages == nil:
		return nil, api.ErrDirect
	}
	var found *api.Quarantined
	for i, q := range all.Stages.Quarantine {
		if !strings.HasPrefix(q.Digest.String(), "sha256:"+strings.TrimPrefix(of, "sha256:")) {
			continue
		}
		if found != nil && found.Digest != q.Digest {
			return nil, usage("several bundles in quarantine begin with %s", of)
		}
		found = &all.Stages.Quarantine[i]
	}
	if found == nil {
		return nil, fmt.Errorf("no bundle in quarantine begins with %s\n  fix: spillway rollout lists them", of)
	}
	return found, nil
}

// quarantined completes the digests in quarantine.
func (a *app) quarantined() (out []string) {
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	all, err := a.client().Rollouts(ctx)
	if err != nil || all.Stages == nil {
		return nil
	}
	for _, q := range all.Stages.Quarantine {
		out = append(out, q.Digest.Short()+"\t"+q.Name)
	}
	return out
}

// shareFlag is a share above zero as people write it: 2%, 0.5%.
type shareFlag struct{ share *float64 }

func (f shareFlag) String() string {
	if f.share == nil || *f.share == 0 {
		return ""
	}
	return strconv.FormatFloat(100**f.share, 'g', 6, 64) + "%"
}

func (shareFlag) Type() string { return "share" }

func (f shareFlag) Set(s string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !percent || !(n > 0 && n <= 100) {
		return fmt.Errorf("valid: 2%%, 0.5%%; above 0%% and at most 100%%")
	}
	*f.share = n / 100
	return nil
}
