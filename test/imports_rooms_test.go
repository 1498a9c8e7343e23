// SPDX-License-Identifier: Apache-2.0

package test

import (
	"slices"
	"strings"
	"testing"
)

// rooms are the packages of the agent from the lowest up; one may import those before it, and none of its own row. So
// the order in which their locks are taken is the order of this list, from the end: a room holds its lock and calls
// down.
var rooms = [][]string{
	{"state", "retry", "rollout/sequential"},
	{"ledger", "rollout"},
	{"hostfile", "taste"},
	{"plane", "events", "bans", "bypass", "serve", "silent", "health"},
	{"release"},
	{"stages"},
	{"agent"},
}

func roomOf(path string) int {
	name, ok := strings.CutPrefix(path, module+"/userspace/")
	if !ok {
		return -1
	}
	return slices.IndexFunc(rooms, func(row []string) bool { return slices.Contains(row, name) })
}

// upward says why a room must not import another; "" when it may, or when one of them is no room.
func upward(from, to string) string {
	a, b := roomOf(from), roomOf(to)
	if a < 0 || b < 0 || a > b {
		return ""
	}
	return from + " imports " + to +
		": rooms of the agent import those below them; it takes what it needs as an interface of its own"
}

func TestImportsOfRoomsRunDown(t *testing.T) {
	seen := 0
	for _, p := range packages(t, "/userspace/...") {
		if roomOf(p.ImportPath) >= 0 {
			seen++
		}
		for _, to := range p.Imports {
			if fault := upward(p.ImportPath, to); fault != "" {
				t.Error(fault)
			}
		}
	}
	if want := len(slices.Concat(rooms...)); seen != want {
		t.Errorf("%d of %d rooms were looked at", seen, want)
	}
}

func TestWrongImportsOfRoomsAreFound(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"ledger", "agent", false},
		{"state", "ledger", false},
		{"events", "bans", false},
		{"plane", "release", false},
		{"agent", "ledger", true},
		{"ledger", "state", true},
		{"events", "api", true},
	} {
		if fault := upward(module+"/userspace/"+c.from, module+"/userspace/"+c.to); (fault == "") != c.allowed {
			t.Errorf("%s imports %s: fault %q, want allowed %t", c.from, c.to, fault, c.allowed)
		}
	}
}
