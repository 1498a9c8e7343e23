// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

func (l *bundleLoader) buildPolicy() {
	l.b.Policy = map[string]Policy{}
	if p := l.file.Policy.Default; p != nil {
		l.b.Policy[DefaultPolicy] = p.plain()
	}
	known := make([]string, 0, len(l.services))
	for _, s := range l.services {
		known = append(known, s.Name)
	}
	for name, p := range l.file.Policy.Services {
		path := "policy.services." + name
		switch {
		case name == DefaultPolicy:
			l.d.FaultAt(yaml.CodeReserved, "#"+path, "", "the default stands beside services, not in it", "policy.default")
		case l.services != nil && !slices.Contains(known, name):
			l.d.unknownName("#"+path, name, "the host has no service", "a service of the host file", known)
		case !validName(name):
			l.d.FaultAt(yaml.CodeSyntax, "#"+path, words.Shorten(name), "this is no name of a service",
				"lower-case letters, digits and dashes; at most 31")
		default:
			l.b.Policy[name] = p.plain()
		}
	}
	l.buildPermits()
	l.checkResets()
	l.checkFragments()
	l.checkLimits()
	l.checkReasonScores()
}

// plain writes what is the same in one way.
func (p Policy) plain() Policy {
	if p.Fragments != FragmentsDrop {
		p.Fragments = FragmentsPass
	}
	p.Rate = p.Rate.filled()
	return p
}

// buildPermits reads whom the policy lets speak for visitors. That a bundle of that name is in force is not asked.
func (l *bundleLoader) buildPermits() {
	first := map[string]string{}
	for i, name := range l.file.Policy.Permits {
		path := fmt.Sprintf("policy.permits[%d]", i)
		switch {
		case !validBundleName(name):
			l.d.FaultAt(yaml.CodeSyntax, path, fmt.Sprintf("%q", words.Shorten(name)), "this is no name of a bundle",
				"lower-case letters, digits, dots, dashes and underscores; at most 63")
		case name == l.file.Name:
			l.d.FaultAt(yaml.CodeReference, path, fmt.Sprintf("%q", name), "this bundle has the policy and needs no permit",
				"the names of other bundles")
		default:
			l.d.unique(first, name, path, "the bundle")
		}
	}
	if len(l.file.Policy.Permits) > 0 && len(l.b.Policy) == 0 && !l.d.Bad["policy.default"] &&
		!l.d.Bad["policy.services"] {
		l.d.FaultAt(yaml.CodeMissing, "policy.permits", "", "permits without a policy",
			"policy: {default: {drop: 80}, permits: […]}")
	}
	l.b.Permits = slices.Sorted(slices.Values(l.file.Policy.Permits))
}

// validBundleName reports whether a bundle could have the name.
func validBundleName(name string) bool {
	return len(name) <= 63 && bundleNames.MatchString(name)
}

var bundleNames = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// checkResets refuses a reset where nobody can say whose connection it is. The default's is left out there, and a
// warning says so: that a host has one more service must not refuse what its others run on.
func (l *bundleLoader) checkResets() {
	for name, p := range l.b.Policy {
		path := pathOf(name)
		if p.Reset != Never && p.Reset == p.Drop {
			l.d.FaultAt(yaml.CodeRange, path+".reset", p.Reset.String(), "drop and reset begin at the same score",
				"two scores, or never for one of them: the higher one that is reached decides")
		}
	}
	for _, s := range l.services {
		own, ok := l.b.Policy[s.Name]
		switch {
		case s.Resettable():
		case ok && own.Reset != Never:
			l.d.FaultAt(yaml.CodeReference, "policy.services."+s.Name+".reset", own.Reset.String(),
				fmt.Sprintf("the service %s cannot be reset: %s", s.Name, whyNotReset(s)),
				"reset for tls, http and tcp services with local sockets; drop for others")
		case !ok && l.b.Policy[DefaultPolicy].Reset != Never:
			l.warnAt(yaml.CodeUnused, "policy.default.reset", l.b.Policy[DefaultPolicy].Reset.String(),
				fmt.Sprintf("reset does not apply to the service %s: %s", s.Name, whyNotReset(s)),
				"a policy of its own for this service")
		}
	}
}

// checkFragments refuses to drop fragments where no segment is read any further. The default's is left out there, and a
// warning says so.
func (l *bundleLoader) checkFragments() {
	for name, p := range l.b.Policy {
		path := pathOf(name)
		if p.Fragments == FragmentsDrop && p.Blocks() == Never {
			l.d.FaultAt(yaml.CodeRange, path+".fragments", string(p.Fragments),
				"fragments would be dropped where nobody is ever blocked", "a score from which to limit, to drop or to reset beside it")
		}
	}
	for _, s := range l.services {
		own, ok := l.b.Policy[s.Name]
		switch {
		case s.DropsFragments():
		case ok && own.Fragments == FragmentsDrop:
			l.d.FaultAt(yaml.CodeReference, "policy.services."+s.Name+".fragments", string(own.Fragments),
				fmt.Sprintf("fragments to the service %s cannot be dropped: it is %s", s.Name,
					s.Kind), "fragments: drop for tls and tcp services")
		case !ok && l.b.Policy[DefaultPolicy].Fragments == FragmentsDrop:
			l.warnAt(yaml.CodeUnused, "policy.default.fragments", string(FragmentsDrop),
				fmt.Sprintf("fragments to the service %s are not dropped: it is %s", s.Name,
					s.Kind), "a policy of its own for this service")
		}
	}
}

func whyNotReset(s Service) string {
	switch {
	case s.Protocol() != protocolTCP:
		return "it is " + string(s.Kind) + ", and only TCP has resets"
	case s.Local:
		return "its connections end elsewhere (confirm: egress), and nobody here knows where in them they are"
	}
	return "its sockets are elsewhere (local: false), so a stranger could have other people's connections reset"
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

// checkReasonScores keeps the promise that packets which could not be fingerprinted are never blocked for what a
// network makes: a lost segment is an ordinary visitor. What only a client makes may block, and what the host file
// accepts.
func (l *bundleLoader) checkReasonScores() {
	from, sum := l.b.blocksFrom(), 0
	for _, f := range l.b.Reasons {
		if i, ok := l.rules[f.Rule]; ok && !l.host.Accepts(f.Reason) {
			sum += max(0, l.file.Rules[i].Score)
		}
	}
	if from != Never && sum >= int(from) {
		l.d.FaultAt(yaml.CodeRange, "features.reasons", fmt.Sprintf("sum of scores %d", sum),
			fmt.Sprintf("reasons alone would block (from %d on)", from),
			fmt.Sprintf("scores of all reasons that sum up to less than %d: a lost packet is an ordinary visitor", from))
	}
}
