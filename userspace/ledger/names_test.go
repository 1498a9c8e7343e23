// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

var (
	one, two = config.Digest{1}, config.Digest{2}
	rules    = []config.Rule{{ID: "bad", Label: "denied"}}
)

// The names of what the kernel has are read: those beside a bundle, or all of it; those of what left are forgotten.
func TestLearnResident(t *testing.T) {
	f := &files{names: map[config.Digest]*state.Names{one: {Name: "beside", Rules: rules}},
		bundles: map[config.Digest]*config.Bundle{two: {Name: "whole", Rules: rules, Digest: two,
			Prefixes: []config.PrefixList{{Rule: "bad"}}}}}
	l, _ := open(t, f)
	l.LearnResident([]loader.GenerationInfo{{Digest: one}, {Digest: two}, {Digest: config.Digest{3}}})
	for d, want := range map[config.Digest]string{one: "beside", two: "whole", {3}: ""} {
		if got := l.NameOf(d); got != want {
			t.Errorf("%s is called %q, want %q", d.Short(), got, want)
		}
	}
	if f.names[two] == nil {
		t.Error("the next start reads the whole bundle again")
	}
	if r, ok := l.RuleOf(two, 0); !ok || r.Label != "denied" {
		t.Errorf("rule %+v, %t", r, ok)
	}
	if _, ok := l.RuleOf(two, 1); ok {
		t.Error("there is no second rule")
	}
	if got := l.MatchedBy(two, 0); got != "prefix list own" {
		t.Errorf("the rule matches %q", got)
	}
	if got := l.MatchedBy(one, 0) + l.MatchedBy(two, 1); got != "" {
		t.Errorf("nobody knows what it matches, and it is said to be %q", got)
	}
	if has(l, ProblemBundle) {
		t.Errorf("a bundle that is not there is no problem of the disk: %v", l.Problems())
	}
	l.LearnResident([]loader.GenerationInfo{{Digest: one}})
	if l.Knows(two) != nil || l.Knows(one) == nil {
		t.Error("what left is remembered, or what stays is not")
	}
}

// A disk that cannot be read now is a problem, and asked again.
func TestLearnWhatCannotBeRead(t *testing.T) {
	f := &files{unread: unix.EIO, bundles: map[config.Digest]*config.Bundle{one: {Name: "one", Digest: one}}}
	l, _ := open(t, f)
	l.LearnResident([]loader.GenerationInfo{{Digest: one}})
	if !has(l, ProblemBundle) || l.Knows(one) != nil {
		t.Errorf("problems %v, known %+v", l.Problems(), l.Knows(one))
	}
	f.unread = nil
	l.LearnResident([]loader.GenerationInfo{{Digest: one}})
	if has(l, ProblemBundle) || l.NameOf(one) != "one" {
		t.Errorf("problems %v, name %q", l.Problems(), l.NameOf(one))
	}
}

// The record has names without a bundle, and knows the bundles of a set; the disk does else.
func TestNameGenerations(t *testing.T) {
	set, other := config.Digest{8}, config.Digest{9}
	members := []state.Member{{Name: "a", Digest: one}, {Name: "b", Digest: two}}
	l, _ := open(t, &files{
		record: state.Record{Applied: &state.Generation{Digest: set, Members: members},
			Compiled: []state.Compiled{{Number: 4, Digest: config.Digest{7}, LeftOutRows: 3}}},
		sets: map[config.Digest][]config.Member{other: {{Name: "c", Digest: one}, {Name: "d", Digest: two}}},
	})
	all := []api.Generation{{Digest: set, Number: 4}, {Digest: other, Number: 5}, {Digest: one, Number: 6}}
	l.NameGenerations(all)
	if g := all[0]; g.Name == "" || len(g.Members) != 2 || g.Members[1].Name != "b" || g.LeftOut != 3 ||
		g.Compiled != (config.Digest{7}) {
		t.Errorf("of the record: %+v", g)
	}
	if g := all[1]; len(g.Members) != 2 || g.Members[0].Name != "c" || g.LeftOut != 0 {
		t.Errorf("of the disk: %+v", g)
	}
	if g := all[2]; g.Members != nil {
		t.Errorf("one bundle is no set: %+v", g)
	}
}
