// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/rollout"
)

const bundleText = `version: 1
name: feed
rules: [{id: bad, label: denied, score: 100}]
features: {prefixes: [{list: own, rule: bad, file: own.netset}]}
policy: {default: {drop: 80}}
`

// The way of a generation, by an agent and a child with their own rights.
func TestTasteBuildsWhatTheAgentAdopts(t *testing.T) {
	pins, files := unitFolders(t)
	save(t, files, hostText, bundleText, 300)
	r := tasteAsUnit(t, order{Pins: pins, State: files, Host: hostText})
	if r.Taste.Outcome != rollout.TastePassed || r.Taste.Number != 7 || r.Taste.Base != 6 || r.Taste.ID != "r-1" {
		t.Fatalf("%+v", r.Taste)
	}
	if r.Slot == 0 || r.Drifts > 0 || len(r.Left) > 0 {
		t.Errorf("slot %d, %d drifts, left %v", r.Slot, r.Drifts, r.Left)
	}
	c := r.Result.Compiled
	rows := c.Sums["prefixes4"]
	if c.Services["web"] == 0 || c.Allowlist != 1 || len(c.Sums) < 3 || !strings.HasPrefix(rows, "5 pages") {
		t.Errorf("compiled: %+v", c)
	}
}

// What is wrong with what it reads is an answer, not a crash.
func TestTasteOfWhatCannotBeBuilt(t *testing.T) {
	for _, row := range []struct {
		name, host string
		spoil      func(t *testing.T, files string)
		outcome    rollout.TasteEnd
		detail     string
	}{
		{"no room", hostText + "capacity: {prefixes_v4: 64}\n", nil, rollout.TasteWrong, "capacity 64"},
		{"a stored bundle with another digest", hostText, func(t *testing.T, files string) {
			all, _ := filepath.Glob(files + "/bundles/" + strings.Repeat("?", 64))
			if len(all) != 1 || os.WriteFile(all[0], []byte("{}"), 0o600) != nil {
				t.Fatalf("bundles: %v", all)
			}
		}, rollout.TasteFailed, "another digest"},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			pins, files := unitFolders(t)
			save(t, files, hostText, bundleText, 300)
			if row.spoil != nil {
				row.spoil(t, files)
			}
			r := tasteAsUnit(t, order{Pins: pins, State: files, Host: row.host})
			if r.Taste.Outcome != row.outcome || !strings.Contains(r.Taste.Detail, row.detail) || r.Slot != 0 {
				t.Errorf("%+v in slot %d, want %d, %q", r.Taste, r.Slot, row.outcome, row.detail)
			}
			if len(r.Left) > 0 {
				t.Errorf("left %v", r.Left)
			}
		})
	}
}
