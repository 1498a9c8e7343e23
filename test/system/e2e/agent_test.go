// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

// One life of an edge: apply, kill, adopt, rollback and bypass without an agent.
func TestA27AgentKilledAdoptedRolledBackBypassed(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	e.Start()
	tr.BotsAreServed(t)
	bundle := e.WriteBundle("deny", world.DenyBots())
	e.MustCLI("apply", bundle, "--yes")
	tr.BotsAreStopped(t)
	before := e.Adopt().Control()

	e.Kill()
	tr.BotsAreStopped(t)
	if out, code := e.CLI("status"); code == 0 || !strings.Contains(out, "agent") {
		t.Errorf("status without an agent: exit %d\n%s", code, out)
	}
	e.MustCLI("bypass", "on", "--for", "10m")
	tr.BotsAreServed(t)
	e.MustCLI("bypass", "off")
	tr.BotsAreStopped(t)

	e.Start()
	if after := e.Adopt().Control(); after != before {
		t.Errorf("adoption touched the control word:\n was %+v\n  is %+v", before, after)
	}
	tr.BotsAreStopped(t)
	e.MustCLI("apply", e.WriteBundle("nothing", "rules: []\nfeatures: {}\npolicy:\n  default: {drop: 80}\n"), "--yes",
		"--accept", "test: an empty bundle")
	tr.BotsAreServed(t)
	e.Kill()
	e.MustCLI("rollback")
	tr.BotsAreStopped(t)
	e.Start()
	tr.BotsAreStopped(t)
	if out := e.MustCLI("history"); !strings.Contains(out, "rollback") {
		t.Errorf("the history does not tell of the rollback:\n%s", out)
	}
	tr.VisitorsNeverNoticed(t)
}

// --confirm is a lease: nobody confirms and nobody renews it, so the kernel goes back by itself.
func TestUnconfirmedApplyGoesBackWithoutAnAgent(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes", "--confirm", "10m")
	tr.BotsAreStopped(t)
	e.Kill()
	tr.BotsAreServed(t)
	e.Start()
	tr.BotsAreServed(t)
	tr.VisitorsNeverNoticed(t)
}

// The agent stays away longer than it may: everything passes, and the command line says why.
func TestAgentLostPassesEverything(t *testing.T) {
	e := world.NewEdge(t)
	e.WriteHost("enforce", "guards: {lease: 1s, agent_timeout: 3s, rollout: direct}")
	tr := world.StartTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	tr.BotsAreStopped(t)
	e.Kill()
	tr.BotsAreServed(t)
	e.Start()
	tr.BotsAreStopped(t)
	tr.VisitorsNeverNoticed(t)
}
