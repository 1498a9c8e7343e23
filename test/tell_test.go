// SPDX-License-Identifier: Apache-2.0

package test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What a test leaves out is told anywhere, and fails where everything has to be there.
func TestWhatIsLeftOutFailsInCI(t *testing.T) {
	const passed = "=== RUN   TestX\n--- PASS: TestX (0.00s)\nPASS\nok  \tgithub.com/spillway/spillway/x\t0.1s\n"
	const left = "=== RUN   TestX\n    x_test.go:3: left out: no card\n--- SKIP: TestX (0.00s)\nPASS\n" +
		"ok  \tgithub.com/spillway/spillway/x\t0.1s\n"
	elsewhere := strings.Replace(left, "left out: no card", "not here: one processor", 1)
	for _, row := range []struct {
		said, ci string
		code     int
		tells    string
	}{
		{passed, "true", 0, "ok"}, {passed, "", 0, "ok"},
		{left, "true", 1, "TestX: no card"}, {left, "", 0, "TestX: no card"},
		{elsewhere, "true", 0, "TestX: not here: one processor"},
	} {
		cmd := exec.Command(".ci/tell")
		cmd.Dir, cmd.Stdin = "..", strings.NewReader(row.said)
		cmd.Env = append(os.Environ(), "CI="+row.ci)
		out, err := cmd.Output()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != row.code || !strings.Contains(string(out), row.tells) {
			t.Errorf("CI=%s: exit %d, want %d: %s", row.ci, code, row.code, out)
		}
	}
}
