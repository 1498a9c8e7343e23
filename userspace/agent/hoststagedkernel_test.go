// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/api"
)

const partnerLine = ", {prefix: \"2001:db8:400::/38\", note: partner}"

// reload reads the host file again, and returns the rollout that brings its change; "" where there is none.
func (s *site) reload(r api.ReloadRequest) (id string) {
	s.t.Helper()
	change, err := s.client.Reload(context.Background(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?:comes in stages, as|for) rollout (\d+)`).FindStringSubmatch(strings.Join(change.Details,
		"\n")); m != nil {
		return m[1]
	}
	return ""
}

// hostInStages goes on where "scanner" is last-known-good: it blocks 2001:db8::/37. A partner in it is protected, and
// the line is taken away again. It counts for nobody before it was judged; an eighth of the visitors is more than it
// may cost; and what a person accepts goes all the way.
func hostInStages(t *testing.T, s *site, v *visitors) {
	t.Helper()
	partner := netip.MustParseAddr("2001:db8:7ff::7")
	served := func(what string, want bool) {
		t.Helper()
		for range 3 {
			if got := v.visit(partner); got != want {
				t.Errorf("%s: the partner is served: %v", what, got)
			}
		}
	}
	k := s.kernel()
	s.editHost("note: monitoring}]", "note: monitoring}"+partnerLine+"]")
	if id := s.reload(api.ReloadRequest{}); id != "" {
		t.Errorf("a line more comes in stages, as rollout %s", id)
	}
	stable := k.Control().Stable
	s.editHost(partnerLine, "")
	id := s.reload(api.ReloadRequest{Ask: true})
	if id == "" {
		t.Fatal("a line less does not come in stages")
	}
	quiet := func(ro *api.Rollout) {
		if c := k.Control(); c.Canary > 0 {
			t.Errorf("it decides: %+v", c)
		}
	}
	held := s.await(id, quiet)
	if held.State != api.RolloutHeld || held.Name != "host file" || held.Staged.Verdict.Gate != "intent" ||
		len(held.Staged.Evidence.Blame) == 0 || held.Staged.Evidence.Blame[0].Label != "scanner" {
		t.Errorf("%s: %s, %+v", held.State, held.Message, held.Staged)
	}
	if again := s.reload(api.ReloadRequest{}); again != id {
		t.Errorf("the same file again is rollout %q", again)
	}
	if st, err := s.client.Status(context.Background()); err != nil ||
		!slices.ContainsFunc(st.Problems, func(p api.Problem) bool {
			return p.Code == "host_file_behind" && strings.Contains(p.Message, "rollout "+id+" is held")
		}) {
		t.Errorf("status has the problems %+v, %v", st.Problems, err)
	}
	if c := k.Control(); c.Stable == stable {
		t.Errorf("what decides was not built for the new host file: %+v", c)
	}
	before := filepath.Join(s.host.Paths.State, "host-before.json")
	if _, err := os.Stat(before); err != nil {
		t.Errorf("the host file before is not kept: %v", err)
	}
	order := api.Order{Verb: api.OrderAccept, ID: id, Share: 0.3, Reason: "the contract ended"}
	if _, err := s.client.Order(context.Background(), order); err != nil {
		t.Fatal(err)
	}
	if done := s.await(id, nil); done.State != api.RolloutDone {
		t.Fatalf("%s: %s, %+v", done.State, done.Message, done.Staged)
	}
	eventually(t, "the host file counts for everybody", func() error {
		if _, err := os.Stat(before); !errors.Is(err, fs.ErrNotExist) {
			return errors.New("the host file before is kept")
		}
		return nil
	})
	served("the line is gone", false)
	if id := s.reload(api.ReloadRequest{}); id != "" {
		t.Errorf("what is accepted comes in stages again, as rollout %s", id)
	}
	s.editHost("note: monitoring}]", "note: monitoring}"+partnerLine+"]")
	s.reload(api.ReloadRequest{})
	served("the line is there", true)
	s.editHost(partnerLine, "")
	if id := s.reload(api.ReloadRequest{}); id == "" {
		t.Error("a line that is taken away for the second time does not come in stages")
	}
	served("the line is gone, and not judged", true)
	s.kill()
	s.start()
	served("after another start", true)
	change, err := s.client.Reload(context.Background(), api.ReloadRequest{Emergency: true, Reason: "they attack"})
	if err != nil || !slices.ContainsFunc(change.Details, func(d string) bool {
		return strings.HasPrefix(d, "can newly block: allowlist: 2001:db8:400::/38")
	}) {
		t.Errorf("an emergency says %+v, %v", change, err)
	}
	served("an emergency", false)
}
