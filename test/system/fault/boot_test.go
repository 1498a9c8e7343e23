// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

// starts returns the starts that are counted on disk.
func (s *site) starts(t *testing.T) (b boots) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.State(), "boot.json"))
	if err != nil {
		return b
	}
	var file struct{ Content boots }
	world.Must(t, json.Unmarshal(data, &file))
	return file.Content
}

// boots are the starts with one set. The agent that brought the set into force counts it as its first, if it lives
// until its next look.
type boots struct {
	Digest string
	Starts int
}

// A33: the agent, as the unit, is killed at its start, three times with one set, each time as soon as the start is
// counted. The fourth leaves the set for what was in force before; until then the kernel decides as it did, and no
// visitor notices anything of it. Where changes are direct the same deaths change nothing.
func TestA33AgentThatDiesAtItsStart(t *testing.T) {
	for _, staged := range []bool{true, false} {
		t.Run(fmt.Sprintf("staged=%t", staged), func(t *testing.T) {
			s := newSite(t)
			s.protect(t, nil)
			first := s.look(t)
			s.MustCLI("apply", s.other(first.Stable.Digest), "--yes")
			if staged {
				s.limits = strings.Replace(s.limits, "rollout: direct", "rollout: staged", 1)
				s.writeHost(0)
			}
			s.MustCLI("reload", "--yes")
			second := s.look(t)
			s.Kill()
			most := 6
			if !staged {
				most = 4 // one more than condemn where starts are counted
			}
			for deaths := 0; deaths < most && !(staged && s.starts(t).Starts == 3); deaths++ {
				counted := s.starts(t)
				s.StartWith()
				world.Eventually(t, "the start is counted", func() bool {
					return staged && s.starts(t) != counted || !staged && s.Answers()
				})
				s.Kill()
				if now := s.look(t); now.Stable != second.Stable {
					t.Fatalf("after %d deaths %s is in force, was %s", deaths+1, now, second)
				}
			}
			s.start(t, nil)
			want := second.Stable.Digest
			if staged {
				want = first.Stable.Digest
			}
			world.Eventually(t, "what shall be in force is", func() bool { return s.glance(t).Stable.Digest == want })
			out, _ := s.CLI("status")
			if told := strings.Contains(out, "crashed 3 times"); told != staged {
				t.Errorf("status tells of the deaths %t, want %t:\n%s", told, staged, out)
			}
			s.tr.BotsAreStopped(t)
			s.tr.VisitorsNeverNoticed(t)
		})
	}
}
