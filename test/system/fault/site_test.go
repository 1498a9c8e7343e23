// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
)

var sites atomic.Int64

// sizes are small, so that starts are fast, and a site's own, so that its maps can be told from all others.
func sizes() (text string, own []uint32) {
	n := uint32((int64(os.Getpid())*16 + sites.Add(1)) % 900)
	own = []uint32{10_000 + n, 11_000 + n, 12_000 + n, 13_000 + n, 14_000 + n}
	return fmt.Sprintf(`capacity: {prefixes_v4: %d, prefixes_v6: %d, tcp_fingerprints: %d, bans: %d, flows: %d, syns: 4096, rules: 67, allowlist: 79}
guards: {bake: 1s, rollout: direct}
`, own[0], own[1], own[2], own[3], own[4]), own
}

// site is an edge with traffic, two bundles that both block the bots, and two host files.
type site struct {
	*world.Edge
	tr      *world.Traffic
	bundles map[config.Digest]string         // path of the file
	parsed  map[config.Digest]*config.Bundle // what the rows must be
	hosts   [2]*config.Host
	host    int // which of them is on disk
	limits  string
	sizes   []uint32
	forgot  map[uint32]bool // generations whose moment of compilation the disk refused
	trouble []string        // what wrong points there were
	said    string          // what the last command said
}

func newSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	s := &site{Edge: world.NewEdge(t), bundles: map[config.Digest]string{}, parsed: map[config.Digest]*config.Bundle{},
		forgot: map[uint32]bool{}}
	s.limits, s.sizes = sizes()
	for i := range s.hosts {
		s.writeHost(i)
		h, err := config.LoadHost(s.HostFile())
		world.Must(t, err)
		s.hosts[i] = h
	}
	s.writeHost(0)
	for i, more := range []string{"198.51.100.0/24", "203.0.113.0/24"} {
		path := s.WriteBundle(fmt.Sprintf("deny-%d", i), world.DenyBots(more))
		b, err := config.LoadBundle(path, s.hosts[0], config.BundleOptions{})
		world.Must(t, err)
		s.bundles[b.Digest], s.parsed[b.Digest] = path, b
	}
	s.tr = world.StartTrafficOf(t, s.Edge, 20) // a request each 50 ms meets what takes longer
	return s
}

// writeHost writes one of the two host files; they differ in a service and the allowlist.
func (s *site) writeHost(which int) {
	more := ""
	if which == 1 {
		more = "allowlist: [{prefix: 192.0.2.7/32, note: fault}]\n"
	}
	s.WriteHost("enforce", s.limits+more)
	s.host = which
}

// protect brings the site to where it always is before a fault: a bundle in force that became last-known-good.
func (s *site) protect(t *testing.T, in *inject.Listener) {
	t.Helper()
	s.start(t, in)
	s.loaded(t)
	s.MustCLI("apply", s.other(config.Digest{}), "--yes")
	s.tr.BotsAreStopped(t)
	s.known(t)
	s.tr.Count()
}

// known waits until what is in force is last-known-good on disk: what status says is in memory, and reaches the disk a
// moment later.
func (s *site) known(t *testing.T) {
	t.Helper()
	world.Eventually(t, "the bundle is last-known-good", func() bool {
		data, err := os.ReadFile(filepath.Join(s.State(), "record.json"))
		return err == nil && strings.Contains(string(data), "last_known_good") &&
			!strings.Contains(string(data), "bake_until")
	})
}

// other returns the file of a bundle that is not d.
func (s *site) other(d config.Digest) string {
	var out []string
	for digest, path := range s.bundles {
		if digest != d {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out[0]
}

// start starts the agent below a listener (nil: plainly) and waits until it answers.
func (s *site) start(t *testing.T, in *inject.Listener) {
	t.Helper()
	s.Kill()
	if in == nil {
		s.StartWith()
	} else {
		s.StartWith(in.Wrapper()...)
	}
	s.answers(t, "a start", false)
}

// loaded waits until the agent has its kernel part: it answers before.
func (s *site) loaded(t *testing.T) {
	t.Helper()
	var wrong string
	if !within(answerTime, func() bool {
		st, err := s.status()
		wrong = fmt.Sprintf("%+v, %v", st, err)
		return err == nil && st.Control != nil
	}) {
		t.Fatalf("the kernel part is not loaded: %s", wrong)
	}
}

func (s *site) status() (*api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	c := api.NewClient(s.Socket())
	defer c.Close()
	st, err := c.Status(ctx)
	return st, s.asked(err)
}

func (s *site) verify() (*api.Verification, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	c := api.NewClient(s.Socket())
	defer c.Close()
	v, err := c.Verify(ctx)
	return v, s.asked(err)
}

// healthy says what is wrong with a plainly running agent: it must protect, and the kernel must hold what it should. Of
// a generation whose moment of compilation the disk refused, the agent may say that it cannot compare it; this test's
// own comparison then stands alone.
func (s *site) healthy() (wrong []string) {
	st, err := s.status()
	if err != nil {
		return []string{"status: " + err.Error()}
	}
	if !st.Protected {
		wrong = append(wrong, fmt.Sprintf("not protected: %+v", st.Problems))
	}
	v, err := s.verify()
	if err != nil {
		return append(wrong, "verify: "+err.Error())
	}
	left := slices.DeleteFunc(v.Left, func(l string) bool {
		_, tail, _ := strings.Cut(l, "nobody here knows when generation ")
		var number uint32
		_, err := fmt.Sscan(tail, &number)
		return err == nil && s.forgot[number]
	})
	if len(v.Entries)+len(left) > 0 {
		wrong = append(wrong, fmt.Sprintf("verify: %+v, left out %v", v.Entries, left))
	}
	return wrong
}

// wrong notes what went wrong at a point. A test goes on: the pattern of all points says more than the first.
func (s *site) wrong(t *testing.T, point string, what ...string) {
	t.Helper()
	if len(what) == 0 {
		return
	}
	t.Errorf("%s: %s", point, strings.Join(what, "; "))
	if s.trouble = append(s.trouble, point); len(s.trouble) > 20 {
		t.Fatal("too many wrong points")
	}
}

// place is one generation.
type place struct {
	Number uint32
	Digest config.Digest
}

// picture is what the kernel holds, read from the pins beside the agent.
type picture struct {
	Control   loader.Control
	Stable    place
	Candidate place
	Previous  place
	Host      uint32
	Bypass    bool
	Attached  bool
	Wrong     []string // rows that are not those of the bundle or the host file
}

// look reads the pins, every row. A site without pins, or with pins of a start that did not finish, is the zero
// picture.
func (s *site) look(t *testing.T) picture {
	t.Helper()
	return s.read(t, true)
}

// glance is look without the rows.
func (s *site) glance(t *testing.T) picture {
	t.Helper()
	return s.read(t, false)
}

func (s *site) read(t *testing.T, rows bool) picture {
	t.Helper()
	d, err := loader.Adopt(s.Pins)
	if errors.Is(err, loader.ErrNotPinned) {
		return picture{}
	}
	if err != nil {
		return picture{Wrong: []string{err.Error()}}
	}
	defer d.Close()
	p := picture{Control: d.Control(), Bypass: d.Bypass().Active()}
	all, err := d.Generations()
	world.Must(t, err)
	for _, g := range all {
		at := place{g.Number, g.Digest}
		switch g.Role {
		case loader.RoleStable:
			p.Stable = at
		case loader.RoleCandidate:
			p.Candidate = at
		case loader.RolePrevious:
			p.Previous = at
		}
	}
	attached, err := d.Attachments()
	world.Must(t, err)
	p.Attached = len(attached) == 1 && attached[0].State == loader.StateAttached
	info, err := d.Host()
	world.Must(t, err)
	if info != nil {
		p.Host = info.Number
	}
	if rows && info != nil {
		s.compare(t, d, info, all, &p)
	}
	return p
}

// compare compares every row of the host file and of the generations that count with what this test compiles itself.
func (s *site) compare(t *testing.T, d *loader.Dataplane, info *compile.HostInfo,
	all []loader.GenerationInfo, p *picture) {
	t.Helper()
	var best []compile.Drift
	var image *compile.HostImage
	for _, i := range []int{s.host, 1 - s.host} { // one of them, whole
		img, err := compile.HostFile(s.hosts[i], info, info.Number)
		world.Must(t, err)
		drift, err := d.VerifyHost(img)
		world.Must(t, err)
		if image == nil || len(drift) < len(best) {
			image, best = img, drift
		}
		if len(best) == 0 {
			break
		}
	}
	p.note("host file", best)
	for _, g := range all {
		if g.Role == loader.RoleIdle {
			continue
		}
		b := s.parsed[g.Digest]
		if b == nil {
			p.Wrong = append(p.Wrong, fmt.Sprintf("%s generation %d is of no bundle: %x", g.Role, g.Number, g.Digest))
			continue
		}
		img, err := compile.Bundle(b, image, g.Number, loader.Now())
		world.Must(t, err)
		drift, err := d.VerifyGeneration(g.Slot, img)
		world.Must(t, err)
		// The meta entry holds the moment of building; number, digest and counts of rows are compared elsewhere.
		drift = slices.DeleteFunc(drift, func(d compile.Drift) bool { return strings.HasPrefix(d.Where, "generation entry") })
		p.note(fmt.Sprintf("%s generation %d", g.Role, g.Number), drift)
	}
}

func (p *picture) note(what string, drift []compile.Drift) {
	for _, d := range drift {
		p.Wrong = append(p.Wrong, fmt.Sprintf("%s: %s: want %s, got %s", what, d.Where, d.Want, d.Got))
	}
}

func (p picture) String() string {
	return fmt.Sprintf("{stable %d %s, candidate %d %s, previous %d %s, host %d, %+v, bypass %t, attached %t}",
		p.Stable.Number, p.Stable.Digest.Short(),
		p.Candidate.Number, p.Candidate.Digest.Short(), p.Previous.Number, p.Previous.Digest.Short(), p.Host, p.Control,
		p.Bypass, p.Attached)
}
