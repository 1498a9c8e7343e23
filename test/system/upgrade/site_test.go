// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
)

const small = `capacity: {prefixes_v4: 256, prefixes_v6: 256, tcp_fingerprints: 64, bans: 64, flows: 8192, syns: 4096, rules: 64, allowlist: 64}
`

// banned is in force from before the first upgrade on.
const banned = "203.0.113.77/32"

// site is an edge under traffic, on which one build follows another.
type site struct {
	*world.Edge
	tr      *world.Traffic
	layout  uint64
	earlier string // the commit whose build the site begins with; none: this one
	roles   map[string]config.Digest
}

func rolesIn(st *api.Status) map[string]config.Digest {
	roles := map[string]config.Digest{}
	for _, g := range st.Generations {
		roles[g.Role] = g.Digest
	}
	return roles
}

// newSite makes a site that this build protects, or that of an earlier commit: two bundles were applied, and one
// address is banned.
func newSite(t *testing.T, earlier string) *site {
	t.Helper()
	s := &site{Edge: world.NewEdge(t), layout: bpf.ABIVersion, earlier: earlier}
	s.WriteHost("enforce", small+world.Direct)
	// It knows no rollouts, and the next one finds a file that says nothing of them.
	if slices.Contains([]string{rootless, layout3, layout4}, earlier) {
		s.WriteHost("enforce", small)
	}
	s.tr = world.StartTraffic(t, s.Edge)
	s.protect(t)
	return s
}

func (s *site) protect(t *testing.T) {
	t.Helper()
	if s.Program = ""; s.earlier != "" {
		s.Program = earlierBinary(t, s.earlier)
	}
	if s.earlier == rootless {
		s.StartRoot() // it needed all rights
	} else {
		s.Start()
	}
	for i, more := range []string{"198.51.100.0/24", "203.0.113.0/24"} {
		s.MustCLI("apply", s.WriteBundle(fmt.Sprintf("deny-%d", i), world.DenyBots(more)), "--yes")
	}
	s.MustCLI("ban", "203.0.113.77", "--for", "1h")
	s.tr.BotsAreStopped(t)
	s.roles = rolesIn(s.status(t))
	s.tr.Count()
}

// leave ends the agent; what it wrote becomes the unit's user's, as systemd sees to.
func (s *site) leave(t *testing.T) {
	t.Helper()
	s.Kill()
	world.Give(t, s.State())
}

// as makes the next start and the next commands those of a later layout.
func (s *site) as(t *testing.T, layout uint64) {
	t.Helper()
	s.Program, s.layout = laterBinary(t), layout
	world.Must(t, os.Setenv(variable, strconv.FormatUint(layout, 10)))
}

// status is what the agent says.
func (s *site) status(t *testing.T) *api.Status {
	t.Helper()
	out, _ := s.CLI("status", "-o", "json")
	st := &api.Status{}
	if err := json.Unmarshal([]byte(out), st); err != nil {
		t.Fatalf("status: %v: %s", err, out)
	}
	return st
}

// took waits until this layout decides, and says what is wrong then.
func (s *site) took(t *testing.T) *api.Status {
	t.Helper()
	var st *api.Status
	world.Eventually(t, fmt.Sprintf("layout %d decides", s.layout), func() bool {
		st = s.status(t)
		return st.Protected && st.Source == api.SourceAgent && s.rootLayout(t) == s.layout
	})
	folders, err := filepath.Glob(filepath.Join(s.Pins, "*"))
	world.Must(t, err)
	if want := []string{filepath.Join(s.Pins, "conntrack"), filepath.Join(s.Pins, "root"),
		filepath.Join(s.Pins, fmt.Sprintf("v%d", s.layout))}; !slices.Equal(folders, want) {
		t.Errorf("below the pins lie %v, want %v", folders, want)
	}
	want := maps.Clone(s.roles)
	if s.earlier == rootless { // its slots cannot be read with the unit's rights, and its record knew no previous
		delete(want, loader.RolePrevious)
	}
	got := rolesIn(st)
	delete(got, loader.RoleIdle)
	if !maps.Equal(got, want) || got[loader.RoleStable].IsZero() {
		t.Errorf("generations %v, want %v", got, want)
	}
	if len(st.Problems) > 0 || st.Mode != "enforce" || st.Bans != 1 {
		t.Errorf("mode %s, %d bans, problems %+v", st.Mode, st.Bans, st.Problems)
	}
	if out := s.MustCLI("bans"); !contains(out, banned) && !contains(out, "203.0.113.77") {
		t.Errorf("bans: %s", out)
	}
	if out, code := s.CLI("verify"); code != 0 {
		t.Errorf("verify: exit %d: %s", code, out)
	}
	return st
}

func (s *site) rootLayout(t *testing.T) uint64 {
	t.Helper()
	r, err := loader.OpenRoot(s.Pins)
	if err != nil {
		return 0
	}
	defer r.Close()
	return r.Layout()
}

// unnoticed judges the whole time since count.
func (s *site) unnoticed(t *testing.T) {
	t.Helper()
	s.tr.BotsAreStopped(t)
	if leak := s.tr.Leaked(); leak != "" {
		t.Error(leak)
	}
}

// killed waits for the end of an agent that a fault may end; one that goes on is killed.
func (s *site) killed(d time.Duration) {
	if !s.Wait(d) {
		s.Kill()
	}
}
