// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// threshold is one of a policy, and its name in the file.
type threshold struct {
	name string
	from Threshold
}

// disorder returns the first two thresholds of which the weaker verdict begins where the stronger one does, or later:
// tag before limit, and both before what cuts. Of drop and reset any may come first.
func (p Policy) disorder() (weak, strong *threshold) {
	cut := threshold{"drop", p.Drop}
	if lower(p.Reset, p.Drop) {
		cut = threshold{"reset", p.Reset}
	}
	rising := []threshold{{"tag", p.Tag}, {"limit", p.Limit}, cut}
	for i := range rising {
		for j := i + 1; j < len(rising) && rising[i].from != Never; j++ {
			if rising[j].from != Never && rising[i].from >= rising[j].from {
				return &rising[i], &rising[j]
			}
		}
	}
	return nil, nil
}

// pathOf returns where a policy stands in the file.
func pathOf(name string) string {
	if name == DefaultPolicy {
		return "policy.default"
	}
	return "policy.services." + name
}

// checkLimits refuses thresholds whose order would give a higher score a weaker verdict, and limits that nobody could
// keep.
func (l *bundleLoader) checkLimits() {
	for name, p := range l.b.Policy {
		path := pathOf(name)
		if weak, strong := p.disorder(); weak != nil {
			l.d.FaultAt(yaml.CodeRange, path+"."+weak.name, weak.from.String(),
				fmt.Sprintf("%s begins at %s and %s at %s: a higher score would get a weaker verdict", weak.name, weak.from,
					strong.name, strong.from), "tag below limit, and limit below drop and reset")
		}
		l.checkRate(path, p)
	}
	for _, s := range l.services {
		l.checkLimitOf(s)
		l.warnCapped(s)
	}
}

// checkRate refuses a limit without a rate, a rate without a limit, and a burst that takes longer than the dataplane
// counts.
func (l *bundleLoader) checkRate(path string, p Policy) {
	rated := l.d.IsSet(path + ".rate")
	switch {
	case l.d.Bad[path+".limit"] || l.d.Bad[path+".rate"]:
	case p.Limit != Never && !rated:
		l.d.FaultAt(yaml.CodeMissing, path+".limit", p.Limit.String(), "limit without a rate: nothing says how many pass",
			"limit: 60, rate: {connections: 30/m}")
	case p.Limit == Never && rated:
		l.d.FaultAt(yaml.CodeMissing, path+".rate", "", "rate without a limit: nothing says from which score on it counts",
			"limit: 60, rate: {connections: 30/m}")
	}
	if p.Rate.Ahead() > maxAhead && !l.d.Bad[path+".rate.burst"] {
		l.d.FaultAt(yaml.CodeRange, path+".rate.burst", fmt.Sprint(p.Rate.Burst),
			fmt.Sprintf("a burst of %d at %s takes %s to come back", p.Rate.Burst, p.Rate.Connections,
				shortDuration(p.Rate.Ahead())), "a burst that the rate gives in 24 hours")
	}
}

// checkLimitOf refuses a limit where nobody can prove whose connection it is, and a reset beyond it where there is
// none. What the default says is left out there, and a warning says so.
func (l *bundleLoader) checkLimitOf(s Service) {
	own, ok := l.b.Policy[s.Name]
	common := l.b.Policy[DefaultPolicy]
	path := pathOf(s.Name)
	const who = "nobody can prove whose packets those are; connections are charged where a socket confirms them"
	switch {
	case s.Protocol() != protocolTCP && ok && own.Limit != Never:
		l.d.FaultAt(yaml.CodeReference, path+".limit", own.Limit.String(),
			fmt.Sprintf("the service %s is %s and cannot be limited: %s", s.Name, s.Kind, who),
			"limit for tls, http and tcp services")
	case s.Protocol() != protocolTCP && !ok && common.Limit != Never:
		l.warnAt(yaml.CodeUnused, "policy.default.limit", common.Limit.String(),
			fmt.Sprintf("limit does not apply to the service %s: it is %s, and %s", s.Name, s.Kind, who),
			"a policy of its own for this service")
	case s.Protocol() != protocolTCP || s.Resettable():
	case ok && own.Rate.Over == OverReset:
		l.d.FaultAt(yaml.CodeReference, path+".rate.over", string(own.Rate.Over),
			fmt.Sprintf("the service %s cannot be reset: %s", s.Name, whyNotReset(s)), "over: drop")
	case !ok && common.Rate.Over == OverReset:
		l.warnAt(yaml.CodeUnused, "policy.default.rate.over", string(common.Rate.Over),
			fmt.Sprintf("over the limit connections to the service %s are dropped, not reset: %s", s.Name, whyNotReset(s)),
			"a policy of its own for this service")
	}
}

// warnCapped says what the host file's strongest verdict makes of a service's policy, where it changes something.
func (l *bundleLoader) warnCapped(s Service) {
	path := pathOf(DefaultPolicy)
	if _, own := l.b.Policy[s.Name]; own {
		path = pathOf(s.Name)
	}
	full := l.b.PolicyFor(s.Name).Uncapped(s)
	capped := full.At(s)
	if capped == full {
		return
	}
	var loses []string
	for _, verdict := range []struct {
		rank int
		from Threshold
		done string
	}{{1, full.Tag, "tags"}, {2, full.Limit, "limits"}, {3, full.Drop, "drops"}, {4, full.Reset, "resets"}} {
		if verdict.from != Never && verdict.rank > s.MaxVerdict.Rank() {
			loses = append(loses, verdict.done)
		}
	}
	becomes := map[MaxVerdict]string{MaxPass: "passes", MaxTag: "passes and is tagged", MaxDrop: "is dropped",
		MaxLimit: "is limited"}[s.MaxVerdict]
	if s.MaxVerdict == MaxLimit && full.Rate.IsZero() {
		becomes = "passes and is tagged, for there is no rate"
	}
	var instead []string
	if len(loses) > 0 {
		instead = append(instead, fmt.Sprintf("what its policy %s %s", words.List(loses, "and"), becomes))
	}
	if capped.Limit != Never && capped.Rate.Over != full.Rate.Over {
		instead = append(instead, "what is over its limit is dropped")
	}
	if capped.Fragments != full.Fragments {
		instead = append(instead, "fragments pass")
	}
	l.warnAt(yaml.CodeUnused, path, "", fmt.Sprintf("the host file caps the service %s at %s: %s", s.Name, s.MaxVerdict,
		words.List(instead, "and")), "max_verdict of the service in the host file")
}

// Uncapped returns the policy as a service has it whose host file caps nothing.
func (p Policy) Uncapped(s Service) Policy {
	s.MaxVerdict = MaxReset
	return p.At(s)
}

// At returns the policy as a service has it: without what its kind cannot have, and with nothing stronger than the host
// file's strongest verdict. What would be stronger is that one: of a policy without a rate nothing can be limited, and
// what would be is tagged.
func (p Policy) At(s Service) Policy {
	if s.Protocol() != protocolTCP {
		p.Limit, p.Rate = Never, Rate{}
	}
	most := s.MaxVerdict.Rank()
	if !s.Resettable() {
		p.Reset = Never
	} else if most < MaxReset.Rank() {
		p.Drop, p.Reset = p.Cuts(), Never
	}
	if p.Rate.Over == OverReset && (!s.Resettable() || most < MaxReset.Rank()) {
		p.Rate.Over = OverDrop
	}
	if !s.DropsFragments() || most < MaxDrop.Rank() {
		p.Fragments = FragmentsPass
	}
	if most < MaxDrop.Rank() && p.Rate.IsZero() {
		p.Tag, p.Drop = lowest(p.Tag, p.Drop), Never
	} else if most < MaxDrop.Rank() {
		p.Limit, p.Drop = p.Blocks(), Never
	}
	if most < MaxLimit.Rank() {
		p.Tag, p.Limit, p.Rate = lowest(p.Tag, p.Limit), Never, Rate{}
	}
	if most < MaxTag.Rank() {
		p.Tag = Never
	}
	return p
}
