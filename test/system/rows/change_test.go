// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"strings"
	"testing"

	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

// A11: a row that means everybody, or the host itself, refuses a bundle that the operator wrote, and is left out of a
// list that somebody else did.
func TestA11RowsThatMeanEverybody(t *testing.T) {
	e := on(t)
	for _, row := range []string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "192.0.0.0/8", "::/0", "2000::/3",
		"2001:db8::/20", lab.EdgeAddr4.String(), lab.EdgeAddr6.String(), "2001:db8:b000::/40", "2001:db8:b000:7::/64"} {
		answer := e.refused(t, e.feed(t, []string{`"` + row + `"`}, ""))
		if answer.Code != api.CodeRefused || answer.Faults == nil || answer.Faults.Total != 1 ||
			answer.Faults.Counts[yaml.CodeFloor]+answer.Faults.Counts[yaml.CodeProtected]+
				answer.Faults.Counts[yaml.CodeReserved] != 1 {
			t.Errorf("%s: %s", row, tell(answer))
		}
	}
	reserved := []string{"10.1.0.0/16", "100.64.0.1", "127.0.0.1", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"224.0.0.1", `"fd00::/48"`, `"fe80::/64"`, lab.EdgeAddr4.String(), `"2001:db8:b000:7::/64"`}
	u := e.feed(t, append(rowsOf(3), reserved...), "third_party: true, ")
	p, answer := e.plan(t, u)
	if answer != nil || p.OmittedProtected+p.OmittedReserved != len(reserved) {
		t.Fatalf("%+v, %s, want %d rows left out", p, tell(answer), len(reserved))
	}
	e.inForceWith(t, u)
}

// A12: a bundle that is nothing but what the host protects blocks nobody of it: not by its own rows, not by another's
// list, not by a wider row that has it inside, and not by a ban.
func TestA12BundleOfWhoIsProtected(t *testing.T) {
	e := on(t)
	faults(t, "own rows", e.refused(t, e.feed(t, []string{`"2001:db8:b000::/40"`}, "")), yaml.CodeProtected)
	_, err := e.client.Ban(t.Context(), api.BanRequest{Prefix: "2001:db8:b001::/48"})
	if answer := reason(t, err); answer == nil || answer.Code != api.CodeProtected {
		t.Errorf("a ban: %s", tell(answer))
	}
	e.inForceWith(t, e.feed(t, []string{`"2001:db8:b000::/36"`, `"2001:db8:b000::/37"`, `"2001:db8:b000::/40"`},
		"third_party: true, "))
	before := e.insiders.Total().Requests
	world.Eventually(t, "who is protected goes on", func() bool { return e.insiders.Total().Requests > before+50 })
}

// A13: what has no score, no threshold or no rule blocks nobody, bots neither.
func TestA13NoAnswerBlocksNobody(t *testing.T) {
	e := on(t)
	e.mayChange = true
	for what, body := range map[string]string{
		"no policy": strings.Split(world.DenyBots(`"2001:db8:b000::/36"`), "policy:")[0],
		"never":     strings.Replace(world.DenyBots(`"2001:db8:b000::/36"`), "drop: 80", "drop: never", 1),
		"no rules":  "policy: {default: {drop: 1}}\n",
	} {
		t.Run(what, func(t *testing.T) {
			e.applies(t, e.bundle(t, "edge", body), api.ApplyOptions{Accept: "a row of the table"})
			e.tr.BotsAreServed(t)
			rollback(t, e)
			e.tr.BotsAreStopped(t)
		})
	}
	e.tr.Count()
}

// rollback goes back to the base, by an order of a person.
func rollback(t *testing.T, e *edge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	_, err := e.client.Rollback(ctx, "a row of the table")
	world.Must(t, err)
	if e.word(t) != e.inForce {
		t.Fatalf("a rollback leaves %s in force", e.word(t).Short())
	}
}

// A14: a bundle that is well-formed and blocks all guests is held in shadow, which names the rule: it never decides for
// anybody. What a canary of such a bundle costs is userspace/rollout's TestA14BlocksEverythingCostsFewFlows.
func TestA14WellFormedAndWrong(t *testing.T) {
	e := on(t)
	e.writeHost("staged")
	e.MustCLI("reload", "--yes")
	t.Cleanup(func() {
		e.writeHost("direct")
		e.MustCLI("reload", "--yes")
	})
	u := e.bundle(t, "edge", world.DenyBots(`"2001:db8:b000::/36"`, `"2001:db8:8000::/36"`))
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	ro, err := e.client.Apply(ctx, u, api.ApplyOptions{})
	world.Must(t, err)
	world.Eventually(t, "it is over", func() bool {
		ro, err = e.client.Rollout(ctx, ro.ID)
		return err == nil && ro.Over()
	})
	if ro.State != api.RolloutHeld || !strings.Contains(ro.Message, "`net: prefix list own`") {
		t.Errorf("it is %s: %s", ro.State, ro.Message)
	}
	all, err := e.client.Generations(ctx)
	world.Must(t, err)
	for _, g := range all.Generations {
		if g.Role == "candidate" {
			t.Errorf("a candidate stays: %+v", g)
		}
	}
}

// A18: a bundle that was taken back does not come again by itself, however often it is sent.
func TestA18GoodAndBadAlternate(t *testing.T) {
	e := on(t)
	bad := e.bundle(t, "edge", world.DenyBots(`"2001:db8:b000::/36"`, "198.51.100.0/24"))
	e.applies(t, bad, api.ApplyOptions{})
	rollback(t, e)
	for range 3 {
		held(t, "it comes again", e.refused(t, bad), "quarantined")
		u, err := api.Pack(e.base)
		world.Must(t, err)
		if p, answer := e.plan(t, u); answer != nil || p.Changes {
			t.Errorf("the good one is no longer what is in force: %+v, %s", p, tell(answer))
		}
	}
}

// A25: a list that became empty is no wish to have nothing.
func TestA25EmptyResult(t *testing.T) {
	e := on(t)
	e.inForceWith(t, e.feed(t, rowsOf(100), ""))
	with := e.word(t)
	faults(t, "an empty list file", e.refused(t, e.listFile(t, "# nothing\n")), yaml.CodeIncomplete)
	faults(t, "no entries", e.refused(t, e.feed(t, nil, "")), yaml.CodeBlank)
	answer := e.refused(t, e.bundle(t, "feed", "rules: [{id: listed, label: listed, score: 100}]\n"))
	if answer.Code != api.CodeHeld {
		t.Errorf("no list: %s", tell(answer))
	}
	if answer := e.refused(t, e.file(t, "")); answer.Code != api.CodeRefused {
		t.Errorf("an empty file: %s", tell(answer))
	}
	if now := e.word(t); now != with {
		t.Errorf("%s is in force, was %s", now.Short(), with.Short())
	}
}
