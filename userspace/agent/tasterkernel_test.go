// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/taste"
)

// A bundle on its way in stages is built by a child of the agent's, both with the rights of the unit: it becomes a
// candidate, or is refused for the golden client that it would block, and what an earlier child left is gone.
func TestKernelTastesInAChild(t *testing.T) {
	if !taste.Possible() {
		t.Skip("left out: a build with cgo has no child; make test has none")
	}
	s := newSite(t)
	s.editHost("guards: {",
		"golden: [{name: shop, service: web, tcp: \"64240:2-4-8-1-3:1460:9\"}]\nguards: {")
	s.editHost("rollout: direct", "rollout: staged")
	left := filepath.Join(s.host.Paths.Pins, "taste", "r-old")
	s.start()
	s.kill()
	if err := errors.Join(os.MkdirAll(left, 0o700), os.Chown(left, unitID, unitID),
		os.Chown(filepath.Dir(left), unitID, unitID)); err != nil {
		t.Fatal(err)
	}
	s.start()
	eventually(t, "what a child left is gone", func() error {
		if _, err := os.Stat(left); err == nil {
			return fmt.Errorf("%s is there", left)
		}
		return nil
	})

	wrong := s.ask("wrong", "tcp: [{rule: wrong, muonfp: \"64240:2-4-8-1-3:1460:9\"}]")
	eventually(t, "it is refused", func() error { return s.isAt(wrong, api.RolloutRefused, "shop") })

	right := s.ask("right", "tcp: [{rule: right, muonfp: \"1024:::\"}]")
	eventually(t, "a child built it", func() error { return s.isAt(right, api.RolloutRunning, "") })
	all, err := s.kernel().Generations()
	if err != nil || len(all) != 1 || all[0].Number == 0 || all[0].Role == loader.RoleStable {
		t.Errorf("resident: %+v, %v", all, err)
	}
	if text, err := os.ReadFile(s.log.Name()); err != nil || strings.Count(string(text), "a bundle was tasted") < 2 {
		t.Errorf("the agent tells of no taste: %v", err)
	}
}

// ask applies a bundle with one rule of its own name.
func (s *site) ask(name, features string) (id string) {
	s.t.Helper()
	dir := s.t.TempDir()
	text := fmt.Sprintf("version: 1\nname: %[1]s\nrules: [{id: %[1]s, label: %[1]s, score: 100}]\nfeatures: {%[2]s}\n"+
		"policy: {default: {drop: 80}}\n", name, features)
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	u, err := api.Pack(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	ro, err := s.client.Apply(context.Background(), u, api.ApplyOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return ro.ID
}

// isAt says what is wrong about where a rollout is: its state, and what its decision names. One that runs has been
// tasted.
func (s *site) isAt(id, state, names string) error {
	all, err := s.client.Rollouts(context.Background())
	if err != nil {
		return err
	}
	for _, ro := range all.Rollouts {
		if ro.ID != id || ro.State != state || !strings.Contains(fmt.Sprintf("%+v %+v", ro, ro.Staged), names) {
			continue
		}
		if state == api.RolloutRunning && ro.Staged != nil && ro.Staged.Stage == "taste" {
			break
		}
		return nil
	}
	return fmt.Errorf("%+v", all.Rollouts)
}
