// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// Where no answer leaves an interface a reset is a drop: a plan with a reset says so, and one without does not.
func TestPlanSaysWhereAResetIsADrop(t *testing.T) {
	r := newRig(t)
	files := bundleYAML("one")
	r.machine.unanswered = map[int]bool{2: true}
	for _, c := range []struct {
		policy string
		want   []string
	}{
		{"policy: {default: {drop: 80}}\n", nil},
		{"policy: {default: {drop: never}, services: {dns: {drop: 80}}}\n", nil},
		{"policy: {default: {drop: 80, reset: 90}}\n",
			[]string{"on eth0 a reset is enforced as a drop: no answer of a program leaves it (spillway doctor says why)"}},
	} {
		text, _, _ := strings.Cut(string(files[config.BundleFile]), "policy:")
		files[config.BundleFile] = []byte(text + c.policy)
		p, err := r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml"}, files)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, p.Notes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.policy, diff)
		}
	}
}
