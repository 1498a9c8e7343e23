// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

// F17: beside an agent of an earlier build, which says no sentence, `status` began with ": " and nothing more.
func TestF17StatusOfAnOlderAgent(t *testing.T) {
	for _, c := range []struct {
		st   api.Status
		want string
	}{
		{api.Status{Agent: &api.Agent{Version: "0.1"}}, "UNKNOWN: the agent (0.1) is of another version"},
		{api.Status{Agent: &api.Agent{}, Bypass: api.Bypass{Active: true}}, "BYPASS IS ON: the agent is of another version"},
		{api.Status{State: api.StateProtected, Says: "Protected: yes."}, "Protected: yes."},
	} {
		var out strings.Builder
		ofOlder(&c.st)
		show.Status(&out, &c.st, show.Style{})
		if !strings.HasPrefix(out.String(), c.want) {
			t.Errorf("%q, want %q first", out.String(), c.want)
		}
	}
}
