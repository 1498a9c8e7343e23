// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
)

// How a plan says what it finds.

// planNotes says what the policy of the set would come to on this host that the policy itself does not say.
func (re *reader) planNotes(w wish, next *config.Set) (notes []string) {
	if w.bundle == nil || !w.bundle.HasPolicy() { // of its own policy a warning says it
		notes = cappedNotes(re.host(), next)
	}
	resets := func(s config.Service) bool {
		return s.Resettable() && slices.ContainsFunc(next.Bundles, func(b *config.Bundle) bool {
			return b.HasPolicy() && b.PolicyFor(s.Name).Reset != config.Never
		})
	}
	if !slices.ContainsFunc(re.host().Services, resets) {
		return notes
	}
	d, done, err := re.use()
	if err != nil {
		return notes
	}
	defer done()
	lost, err := d.Unanswered()
	if err != nil {
		return notes
	}
	for _, i := range re.judge(d).Interfaces {
		if lost[i.Index] {
			notes = append(notes,
				"on "+i.Name+" a reset is enforced as a drop: no answer of a program leaves it (spillway doctor says why)")
		}
	}
	return notes
}

// cappedNotes says what the host file's max_verdict makes of the policies of a set, service by service.
func cappedNotes(h *config.Host, next *config.Set) (notes []string) {
	merged := next.Merge()
	for _, s := range h.Services {
		asks := merged.PolicyFor(s.Name)
		counts := asks.At(s)
		if counts == asks.Uncapped(s) {
			continue
		}
		notes = append(notes, fmt.Sprintf("max_verdict of service %s is %s in the host file: its policy counts as %s", s.Name,
			s.MaxVerdict, describePolicy(config.ServicePolicy{Drop: counts.Drop, Reset: counts.Reset,
				Fragments: counts.Fragments, Tag: counts.Tag, Limit: counts.Limit, Rate: counts.Rate})))
	}
	return notes
}

func describeIntent(i *config.Intent) string {
	if i == nil {
		return "nothing declared"
	}
	return fmt.Sprintf("%v new blocks by %s", i.NewBlocks, strings.Join(i.By, ", "))
}

func describePolicy(s config.ServicePolicy) string {
	var text string
	if s.Tag != config.Never {
		text = "tag: " + s.Tag.String() + ", "
	}
	if s.Limit != config.Never {
		text += fmt.Sprintf("limit: %s (%s), ", s.Limit, s.Rate)
	}
	text += "drop: " + s.Drop.String()
	if s.Reset != config.Never {
		text += ", reset: " + s.Reset.String()
	}
	if s.Fragments == config.FragmentsDrop {
		text += ", fragments: drop (whoever sends them)"
	}
	return text
}

// describeFeature says which rule a feature has; and of a reason, what a rule can do by it on this host. scores says
// whether it is a rule with a score: one that allows or tags does so by any reason, and never blocks.
func (w planWriter) describeFeature(kind string, f config.FeatureRow, scores bool) string {
	switch {
	case kind != config.PlanReason || !scores:
		return f.Rule
	case w.host.Accepts(f.Name):
		return f.Rule + ", may block alone"
	}
	return f.Rule + ", never blocks alone"
}

func describeRule(r config.Rule) string {
	does := fmt.Sprintf("score %+d", r.Score)
	if r.Verdict != config.RuleScores {
		does = string(r.Verdict)
	}
	text := r.Label + ", " + does
	if !r.Expires.IsZero() {
		text += ", expires " + r.Expires.UTC().Format(time.RFC3339)
	}
	if r.Note != "" {
		text += ", " + r.Note
	}
	return text
}
