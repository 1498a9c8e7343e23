// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

// A host on which somebody worked as root goes on under the unit's rights, and the other way round: what enforces
// stays, and every change works after each step.
func TestF1RootThenUnitAndBack(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	deny, more := e.WriteBundle("deny", world.DenyBots()), e.WriteBundle("more", world.DenyBots("203.0.113.0/24"))
	for i, step := range []struct {
		name  string
		start func()
	}{
		{"as root", e.StartRoot}, {"as the unit", e.Start}, {"as root again", e.StartRoot}, {"as the unit again", e.Start},
	} {
		step.start()
		if i > 0 {
			tr.BotsAreStopped(t)
		}
		e.MustCLI("apply", deny, "--yes", "--accept", step.name)
		tr.BotsAreStopped(t)
		e.MustCLI("apply", more, "--yes", "--accept", step.name)
		e.MustCLI("rollback", "--reason", step.name)
		e.MustCLI("reload")
		e.MustCLI("bypass", "on", "--service", "web")
		e.MustCLI("bypass", "off", "--service", "web")
		e.MustCLI("verify")
		tr.BotsAreStopped(t)
		if out, code := e.CLI("status"); code != 0 {
			t.Errorf("%s: status: exit %d\n%s", step.name, code, out)
		}
		e.Owned()
		e.Kill()
		// What root does without an agent leaves the files to their owner, too.
		e.MustCLI("bypass", "on")
		e.MustCLI("bypass", "off")
		e.Owned()
	}
	tr.VisitorsNeverNoticed(t)
}

// The agent's user works without an agent as root does.
func TestF1CommandsAsTheAgentsUser(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	e.Start()
	as := world.Rights()
	do := func(args ...string) {
		t.Helper()
		if out, code := e.CLIWith(as, args...); code != 0 {
			t.Fatalf("spillway %v as the agent's user: exit %d: %s", args, code, out)
		}
	}
	do("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	do("status")
	do("verify")
	do("doctor")
	if out := e.MustCLI("doctor"); !strings.Contains(strings.Join(strings.Fields(out), " "),
		"accepts the dataplane with the rights of the unit") {
		t.Errorf("doctor as root did not try the rights of the unit:\n%s", out)
	}
	e.Kill()
	tr.BotsAreStopped(t)
	if out, code := e.CLIWith(as, "status"); code != 4 || !strings.Contains(out, "enforce") {
		t.Errorf("status as the agent's user: exit %d: %s", code, out)
	}
	do("bypass", "on")
	tr.BotsAreServed(t)
	do("bypass", "off")
	tr.BotsAreStopped(t)
	e.Start()
	do("apply", e.WriteBundle("nothing", "rules: []\nfeatures: {}\npolicy:\n  default: {drop: 80}\n"),
		"--yes", "--accept", "test")
	tr.BotsAreServed(t)
	e.Kill()
	do("rollback", "--reason", "test")
	tr.BotsAreStopped(t)
	e.Owned()
	e.Start()
	do("history")
	e.Kill()
	do("detach", "--yes")
	tr.BotsAreServed(t)
	tr.VisitorsNeverNoticed(t)
}
