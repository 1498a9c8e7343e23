// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"os"
	"strings"
)

// Process returns who a process is and what it may do, as /proc/PID/status tells: Uid, Gid, Groups, NoNewPrivs, and the
// sets of capabilities CapInh, CapPrm, CapEff, CapBnd, CapAmb, each with its values.
func Process(pid int) (map[string][]string, error) {
	return Read(fmt.Sprintf("/proc/%d/status", pid))
}

// Read reads such a file.
func Read(status string) (map[string][]string, error) {
	data, err := os.ReadFile(status)
	if err != nil {
		return nil, fmt.Errorf("look at the rights of a process: %w", err)
	}
	known := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if name, values, ok := strings.Cut(line, ":"); ok {
			known[name] = strings.Fields(values)
		}
	}
	return known, nil
}

// Differ names what a process has beside, or instead of, the rights of this list as this user; nil: exactly these.
func Differ(process map[string][]string, uid, gid int) []string {
	var wrong []string
	mask := fmt.Sprintf("%016x", Mask())
	for _, want := range []struct {
		name, value string
		times       int
	}{
		{"Uid", fmt.Sprint(uid), 4}, {"Gid", fmt.Sprint(gid), 4},
		{"CapPrm", mask, 1}, {"CapEff", mask, 1}, {"CapInh", mask, 1}, {"CapAmb", mask, 1},
	} {
		text := strings.TrimSuffix(strings.Repeat(want.value+" ", want.times), " ")
		if got := strings.Join(process[want.name], " "); got != text {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", want.name, got, text))
		}
	}
	return wrong
}
