// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config/yaml"
)

// Intent is what a bundle says it will newly block.
type Intent struct {
	// NewBlocks is the share of connections.
	NewBlocks Percent `yaml:"new_blocks" json:"new_blocks" jsonschema:"required" limit:"0%..100%"`
	// By lists the labels that will block them.
	By []string `yaml:"by" json:"by" jsonschema:"required,minItems=1"`
}

func (l *bundleLoader) buildIntent() {
	if l.file.Intent == nil {
		return
	}
	intent := l.file.Intent.Expects
	var labels []string
	for _, r := range l.file.Rules {
		labels = append(labels, r.Label)
	}
	blocks := func(label string) bool {
		return slices.ContainsFunc(l.file.Rules, func(r Rule) bool { return r.Label == label && r.Verdict == RuleScores })
	}
	slices.Sort(labels)
	labels = slices.Compact(labels)
	first := map[string]string{}
	for i, label := range intent.By {
		path := fmt.Sprintf("intent.expects.by[%d]", i)
		switch {
		case !l.d.unique(first, label, path, "the label"):
		case !slices.Contains(labels, label):
			l.d.unknownName(path, label, "no rule has the label", "a rule's label", labels)
		case !blocks(label):
			l.d.FaultAt(yaml.CodeReference, path, fmt.Sprintf("%q", label),
				fmt.Sprintf("the rules of the label %s allow or tag: they block nobody", label), "the label of a rule with a score")
		}
	}
	slices.Sort(intent.By)
	l.b.Intent = &intent
	l.b.declare()
}

// declare marks the rules that the intent names. An intent of no new blocks names none.
func (b *Bundle) declare() {
	for i := range b.Rules {
		b.Rules[i].Declared = b.Intent != nil && b.Intent.NewBlocks > 0 && slices.Contains(b.Intent.By, b.Rules[i].Label)
	}
}

// IntentOf returns what a change from one set to another declares: what the bundles declare that it adds or replaces,
// their shares together and the labels of all of them. A bundle that stays as it is declares nothing for the change
// of another. It is nil when none of them declares anything.
func IntentOf(old, new *Set) *Intent {
	var out *Intent
	for _, b := range new.bundles() {
		if was := old.Named(b.Name); b.Intent == nil || was != nil && was.Digest == b.Digest {
			continue
		}
		if out == nil {
			out = &Intent{}
		}
		out.NewBlocks = min(out.NewBlocks+b.Intent.NewBlocks, 100)
		out.By = append(out.By, b.Intent.By...)
	}
	if out != nil {
		slices.Sort(out.By)
		out.By = slices.Compact(out.By)
	}
	return out
}

// Undeclared returns the bundle as one that declares nothing: what is newly blocked by its rules is not for what it
// says.
func (b *Bundle) Undeclared() *Bundle {
	out := *b
	out.Rules = slices.Clone(b.Rules)
	for i := range out.Rules {
		out.Rules[i].Declared = false
	}
	return &out
}
