// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"strings"
	"testing"
	"time"
)

// A problem is since when it began, whatever its message says now, and the worst is told first.
func TestProblems(t *testing.T) {
	l, clock := open(t, &files{})
	l.SetProblem(ProblemEgress, "egress", "")
	l.SetProblem(ProblemAPI, "no socket", "make room")
	*clock = noon.Add(time.Hour)
	l.SetProblem(ProblemAPI, "still no socket", "make room")
	l.SetProblem(ProblemBans, "bans", "")
	l.SetProblem(ProblemKernel, "kernel", "")
	var got []string
	for _, p := range l.Problems() {
		got = append(got, p.Code)
	}
	if want := strings.Join([]string{ProblemKernel, ProblemBans, ProblemAPI, ProblemEgress},
		" "); strings.Join(got, " ") != want {
		t.Errorf("told as %v, want %s", got, want)
	}
	if p, is := l.Problem(ProblemAPI); !is || !p.Since.Equal(noon) || p.Message != "still no socket" ||
		p.Fix != "make room" {
		t.Errorf("%+v", p)
	}
	l.ClearProblem(ProblemAPI)
	l.ClearProblem("never was")
	if has(l, ProblemAPI) || len(l.Problems()) != 3 {
		t.Errorf("left are %v", l.Problems())
	}
	l.SetProblem(ProblemAPI, "again", "")
	if p, _ := l.Problem(ProblemAPI); !p.Since.Equal(noon.Add(time.Hour)) {
		t.Errorf("since %v, and it was over in between", p.Since)
	}
}
