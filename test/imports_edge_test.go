// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// offEdge is what no binary that runs on an edge links: a scanner, bots, namespaces to let them loose in.
var offEdge = []string{module + "/userspace/lab", module + "/userspace/demo"}

func linkedBy(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", module+"/"+program).Output()
	if err != nil {
		t.Fatalf("list what %s links: %v", program, err)
	}
	return strings.Fields(string(out))
}

func TestEdgeImportsNoScanner(t *testing.T) {
	edge, demo := linkedBy(t, "cmd/spillway"), linkedBy(t, "cmd/spillway-demo")
	for _, p := range offEdge {
		if slices.Contains(edge, p) {
			t.Errorf("cmd/spillway links %s", p)
		}
		if !slices.Contains(demo, p) {
			t.Errorf("cmd/spillway-demo does not link %s: this test looks for the wrong thing", p)
		}
	}
}
