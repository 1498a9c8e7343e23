// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
)

// What a person is told before a rollout begins, of each kind.
func TestAhead(t *testing.T) {
	g := Defaults()
	declared := Change{Expects: Intent{NewBlocks: 0.06}}
	for _, row := range []struct {
		name     string
		g        Guards
		c        Change
		observes bool
		seen     Traffic
		want     []string
		not      string
	}{
		{"a bundle", g, declared, false, Traffic{}, []string{"in stages", "1219 source prefixes", "1, 5, 25, 100 % of them",
			"at 100000 a day about 18 hours", "at 5000 a day evidence does not suffice"},
			"no intent"},
		{"without intent", g, Change{}, false, Traffic{}, []string{"it has no intent", "0.3 %"}, ""},
		{"small evidence", Guards{Evidence: LevelSmall, Shadow: g.Shadow, Steps: g.Steps, Bake: g.Bake, StepMax: g.StepMax,
			ShadowMax: g.ShadowMax}, Change{}, false, Traffic{}, []string{"365 source prefixes", "1 %",
			"at 5000 a day about"}, "not suffice"},
		{"a host that observes", g, Change{}, true, Traffic{}, []string{"blocks nobody"}, "stages"},
		{"a relaxation", g, Change{Kind: KindRelax}, false, Traffic{}, []string{"only let more pass"}, "stages"},
		{"an update of lists", g, Change{Kind: KindDelta, Delta: Delta{Rows: 0.01}}, false, Traffic{},
			[]string{"update of lists"}, "stages"},
		{"a large update", g, Change{Kind: KindDelta, Delta: Delta{Rows: 0.1}}, false, Traffic{}, []string{"in stages"}, ""},
		{"an emergency", g, Change{Kind: KindEmergency}, false, Traffic{}, []string{"an hour at most"}, "stages"},
		{"a host whose last rollout counted", g, declared, false, usual(100_000),
			[]string{"at this host's traffic (100000 source prefixes a day", "it takes about 18 hours."}, "by source prefixes"},
		{"a small one", g, declared, false, usual(5000),
			[]string{"evidence will not suffice", "Your choices: guards.evidence: small"}, "by source prefixes"},
		{"stop in shadow", g, Change{Stop: true}, false, Traffic{}, []string{"until a person promotes it"}, "how long"},
	} {
		got := strings.Join(row.g.Ahead(row.c, row.observes, row.seen), "; ")
		for _, w := range row.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in: %s", row.name, w, got)
			}
		}
		if row.not != "" && strings.Contains(got, row.not) {
			t.Errorf("%s: %q in: %s", row.name, row.not, got)
		}
	}
}
