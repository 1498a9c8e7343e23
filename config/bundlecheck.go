// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

func (l *bundleLoader) buildRules() {
	rules := l.file.Rules
	if n := len(rules); n > l.host.Capacity.Rules {
		l.d.capacity("rules", n, "rules", l.host.Capacity.Rules, "rules")
	}
	first := map[string]string{}
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		l.checkSays(path, r)
		if r.ID == "" || !l.d.unique(first, r.ID, path+".id", "the rule") {
			continue
		}
		l.rules[r.ID] = i
		if !r.Expires.IsZero() && !r.Expires.After(l.opts.Now) {
			l.warnAt(yaml.CodeExpired, path+".expires", r.Expires.Format(time.RFC3339),
				fmt.Sprintf("the rule %s has expired and will not apply", r.ID), "a time to come, or remove the rule")
		}
	}
	l.b.Rules = slices.Clone(rules)
}

// checkSays refuses a rule that says nothing, or two things.
func (l *bundleLoader) checkSays(path string, r Rule) {
	switch score, verdict := l.d.IsSet(path+".score"), l.d.IsSet(path+".verdict"); {
	case l.d.Bad[path] || l.d.Bad[path+".score"] || l.d.Bad[path+".verdict"]: // that is its fault
	case !score && !verdict:
		l.d.FaultAt(yaml.CodeMissing, path+".score", "", "the field score is missing, or verdict in its place",
			"score: -100 to 100, or verdict: allow or tag")
	case score && verdict:
		l.d.FaultAt(yaml.CodeDuplicate, path+".verdict", fmt.Sprintf("%q", r.Verdict),
			path+" has a score and a verdict in its place", "one of both")
	}
}

// warnUnused tells of what has no effect: mostly a typing error somewhere else.
func (l *bundleLoader) warnUnused() {
	for i, r := range l.file.Rules {
		if j, ok := l.rules[r.ID]; ok && j == i && !l.used[r.ID] {
			l.warnAt(yaml.CodeUnused, fmt.Sprintf("rules[%d].id", i), fmt.Sprintf("%q", r.ID),
				fmt.Sprintf("no feature uses the rule %s", r.ID), "a feature with this rule, or remove it")
		}
	}
	if len(l.rules) == 0 {
		return
	}
	if !l.b.HasPolicy() {
		l.warnAt(yaml.CodeUnused, "policy", "",
			"this bundle has no policy: alone it blocks nobody, and beside one that has it counts for that policy",
			"policy: {default: {drop: 80}}, or another bundle with a policy")
		return
	}
	if l.b.blocks() {
		return
	}
	problem := "no policy drops anything: this bundle only counts"
	for _, p := range l.b.Policy {
		if p.Tag != Never {
			problem = "no policy limits or drops anything: this bundle only counts and tags"
		}
	}
	l.warnAt(yaml.CodeUnused, "policy", "", problem, "policy: {default: {drop: 80}}")
}

func (l *bundleLoader) warnAt(code, path, value, problem, valid string) {
	l.warn.AddAt(l.d.Src, code, l.d.Where(path), path, value, problem, valid)
}

func (l *bundleLoader) warnMasked(file string, r row, text string) {
	p := r.prefix
	f := yaml.Fault{Code: yaml.CodeMasked, File: file, Line: int(r.line), Column: int(r.column),
		Path: fmt.Sprintf("features.prefixes[%d]", r.block), Value: words.Shorten(text),
		Problem: fmt.Sprintf("%s has bits beyond its length and is read as %s", words.Shorten(text),
			p), Valid: fmt.Sprintf("%s, or %s for the one address", p, p.Addr())}
	if !r.inFile {
		f.Excerpt = yaml.Excerpt(l.d.Src.Line(int(r.line)), r.at())
	}
	l.warn.Add(f)
}
