// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
)

// F20: a lowered capacity is told before the reboot that makes it real: while it is only on disk, by the reload that
// refuses it, by a plan, and after the restart.
func TestF20LoweredCapacityIsToldBeforeTheReboot(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.machine.rows4 = 800
	r.pass(time.Second)
	told := func() (message string) {
		s, err := r.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Problems {
			if p.Code == hostfile.CodeCapacity {
				message = p.Message
			}
		}
		return message
	}
	if told() != "" {
		t.Fatal(told())
	}
	const want = "capacity.prefixes_v4 is 500, and 800 are needed"
	r.writeHost(strings.Replace(hostYAML, "prefixes_v4: 1000", "prefixes_v4: 500", 1))
	r.pass(5 * time.Second)
	if m := told(); !strings.Contains(m, want) || !strings.Contains(m, "on disk") {
		t.Errorf("on disk: %q", m)
	}
	_, err := r.Reload(ctx, root, api.ReloadRequest{})
	if e := wantCode(t, err, api.CodeRefused); !strings.Contains(e.Message, want) {
		t.Errorf("reload: %+v", e)
	}
	var rows []string
	for i := range 600 {
		rows = append(rows, fmt.Sprintf("198.%d.%d.0/24", 18+i/256, i%256))
	}
	p, err := r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml", Remove: "one"}, bundleYAML("two", rows...))
	if err != nil {
		t.Fatalf("plan: %+v", err)
	}
	if len(p.Warnings) == 0 || !strings.Contains(p.Warnings[len(p.Warnings)-1].Problem, "the next start reads") {
		t.Errorf("plan: %+v", p.Warnings)
	}
	r.restart()
	r.pass(time.Second)
	if m := told(); !strings.Contains(m, want) {
		t.Errorf("after the restart: %q", m)
	}
}
