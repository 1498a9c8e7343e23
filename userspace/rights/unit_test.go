// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
)

const unitFile = "../../config/systemd/spillway.service"

// unit returns the directives of the unit file, each with its values in order.
func unit(t *testing.T) (text string, directives map[string][]string) {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	directives = map[string][]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			directives[name] = append(directives[name], value)
		}
	}
	return string(data), directives
}

// The unit gives these rights and no others.
func TestF1UnitGivesTheseRights(t *testing.T) {
	text, have := unit(t)
	host := config.DefaultHost()
	capabilities := strings.Join(Names(), " ")
	for name, want := range map[string]string{
		"User":                  User,
		"Group":                 User,
		"AmbientCapabilities":   capabilities,
		"CapabilityBoundingSet": capabilities,
		"LimitNICE":             fmt.Sprint(Nice),
		"NoNewPrivileges":       "yes",
		"Type":                  "notify",
		"Restart":               "always",
		"StartLimitIntervalSec": "0",
		"OOMPolicy":             "continue", // a child that is killed is no end of the agent
		"ExecStartPre":          "+/usr/bin/nsenter --mount=/proc/1/ns/mnt -- /usr/local/bin/spillway prepare",
		"ExecStart":             "/usr/local/bin/spillway run",
		"BindPaths":             "-" + host.Paths.Pins,
		"TemporaryFileSystem":   filepath.Dir(host.Paths.Pins) + ":ro",
		"StateDirectory":        strings.TrimPrefix(host.Paths.State, "/var/lib/"),
		"RuntimeDirectory":      strings.TrimPrefix(filepath.Dir(host.Listen.Socket), "/run/"),
	} {
		if len(have[name]) != 1 || have[name][0] != want {
			t.Errorf("%s is %q, want %q alone", name, have[name], want)
		}
	}
	if !strings.Contains(text, MakeUser) {
		t.Errorf("the unit file does not say how to make its user: %s", MakeUser)
	}
	if len(have["WatchdogSec"]) != 1 {
		t.Errorf("WatchdogSec is %q", have["WatchdogSec"])
	}
}

// analyze runs systemd-analyze, where there is one.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("left out: ", err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// systemd understands the unit, and finds little that it exposes (0 is nothing, 10 everything).
func TestF1UnitIsUnderstoodAndExposesLittle(t *testing.T) {
	text, _ := unit(t)
	// verify looks for the program, which need not be installed here.
	file := filepath.Join(t.TempDir(), "spillway.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/local/bin/spillway", "/bin/true")),
		0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := analyze(t, "verify", file); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// tenths
	if out, err := analyze(t, "security", "--offline=true", "--threshold=21", "--no-pager", unitFile); err != nil {
		t.Errorf("systemd-analyze security: exposed more than 2.1: %v\n%s", err, out)
	}
}
