// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

func (l *bundleLoader) buildRules() {
	rules := l.file.Rules
	if n := len(rules); n > l.host.Capacity.Rules {
		l.d.capacity("rules", n, "rules", l.host.Capacity.Rules, "rules")
	}
	first := map[string]string{}
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		if r.ID == "" || !l.d.unique(first, r.ID, path+".id", "the rule") {
			continue
		}
		l.rules[r.ID] = i
		if !r.Expires.IsZero() && !r.Expires.After(l.opts.Now) {
			l.warnAt(CodeExpired, path+".expires", r.Expires.Format(time.RFC3339), fmt.Sprintf("the rule %s has expired and will not apply", r.ID), "a time to come, or remove the rule")
		}
	}
	l.b.Rules = slices.Clone(rules)
}

func (l *bundleLoader) buildTCP() {
	features := l.file.Features.TCP
	if n := len(features); n > l.host.Capacity.TCPFingerprints {
		l.d.capacity("features.tcp", n, "TCP fingerprints", l.host.Capacity.TCPFingerprints, "tcp_fingerprints")
	}
	first := map[string]string{}
	for i, f := range features {
		path := fmt.Sprintf("features.tcp[%d]", i)
		l.reference(path+".rule", f.Rule)
		if l.d.isSet(path + ".muonfp") {
			l.d.unique(first, f.MuonFP.String(), path+".muonfp", "the fingerprint")
		}
		l.b.TCP = append(l.b.TCP, TCPFeature{Rule: f.Rule, Fingerprint: f.MuonFP})
	}
}

func (l *bundleLoader) buildReasons() {
	first := map[string]string{}
	for i, f := range l.file.Features.Reasons {
		path := fmt.Sprintf("features.reasons[%d]", i)
		l.reference(path+".rule", f.Rule)
		l.d.unique(first, f.Reason, path+".reason", "the reason")
	}
	l.b.Reasons = l.file.Features.Reasons
}

func (l *bundleLoader) buildPolicy() {
	l.b.Policy = map[string]Policy{}
	if p := l.file.Policy.Default; p != nil {
		l.b.Policy[DefaultPolicy] = *p
	}
	known := make([]string, 0, len(l.services))
	for _, s := range l.services {
		known = append(known, s.Name)
	}
	for name, p := range l.file.Policy.Services {
		path := "policy.services." + name
		switch {
		case name == DefaultPolicy:
			l.d.faultAt(CodeReserved, "#"+path, "", "the default stands beside services, not in it", "policy.default")
		case l.services != nil && !slices.Contains(known, name):
			l.d.unknownName("#"+path, name, "the host has no service", "a service of the host file", known)
		case !validName(name):
			l.d.faultAt(CodeSyntax, "#"+path, shorten(name), "this is no name of a service", "lower-case letters, digits and dashes; at most 31")
		default:
			l.b.Policy[name] = p
		}
	}
	l.checkReasonScores()
}

// validName reports whether the host file could name a service so.
func validName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 31 && name[0] != '-'
}

// checkReasonScores keeps the promise that packets which could not be fingerprinted are never blocked for that alone: a
// lost segment is an ordinary visitor.
func (l *bundleLoader) checkReasonScores() {
	lowest := Never
	for _, p := range l.b.Policy {
		if p.Drop != Never && (lowest == Never || p.Drop < lowest) {
			lowest = p.Drop
		}
	}
	sum := 0
	for _, f := range l.b.Reasons {
		if i, ok := l.rules[f.Rule]; ok {
			sum += max(0, l.file.Rules[i].Score)
		}
	}
	if lowest != Never && sum >= int(lowest) {
		l.d.faultAt(CodeRange, "features.reasons", fmt.Sprintf("sum of scores %d", sum), fmt.Sprintf("reasons alone would reach drop (%d)", lowest),
			fmt.Sprintf("scores of all reasons that sum up to less than %d: a lost packet is an ordinary visitor", lowest))
	}
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
	slices.Sort(labels)
	labels = slices.Compact(labels)
	first := map[string]string{}
	for i, label := range intent.By {
		path := fmt.Sprintf("intent.expects.by[%d]", i)
		if l.d.unique(first, label, path, "the label") && !slices.Contains(labels, label) {
			l.d.unknownName(path, label, "no rule has the label", "a rule's label", labels)
		}
	}
	slices.Sort(intent.By)
	l.b.Intent = &intent
}

// warnUnused tells of what has no effect: mostly a typing error somewhere else.
func (l *bundleLoader) warnUnused() {
	for i, r := range l.file.Rules {
		if j, ok := l.rules[r.ID]; ok && j == i && !l.used[r.ID] {
			l.warnAt(CodeUnused, fmt.Sprintf("rules[%d].id", i), fmt.Sprintf("%q", r.ID), fmt.Sprintf("no feature uses the rule %s", r.ID), "a feature with this rule, or remove it")
		}
	}
	if len(l.rules) == 0 {
		return
	}
	for _, p := range l.b.Policy {
		if p.Drop != Never {
			return
		}
	}
	l.warnAt(CodeUnused, "policy", "", "no policy drops anything: this bundle only counts", "policy: {default: {drop: 80}}")
}

func (l *bundleLoader) warnAt(code, path, value, problem, valid string) {
	l.warn.addAt(l.d.src, code, l.d.where(path), path, value, problem, valid)
}

func (l *bundleLoader) warnMasked(file string, r row, text string, p netip.Prefix) {
	f := Fault{Code: CodeMasked, File: file, Line: int(r.line), Column: int(r.column), Path: fmt.Sprintf("features.prefixes[%d]", r.block), Value: shorten(text),
		Problem: fmt.Sprintf("%s has bits beyond its length and is read as %s", shorten(text), p), Valid: fmt.Sprintf("%s, or %s for the one address", p, p.Addr())}
	if !r.inFile {
		f.Excerpt = excerpt(l.d.src.line(int(r.line)), r.at())
	}
	l.warn.add(f)
}
