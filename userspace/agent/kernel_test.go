// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/plane"
)

// The agent on a real kernel: a process of its own, in a network namespace, with pins, state and socket of its own, and
// with the user and the rights of its unit.
//
//	  namespace of the test
//	┌───────────────────────────────┐
//	│ agent ── XDP ── sw0 ═══ sw1   │
//	└───────────────────────────────┘
const kernelHost = `version: 1
max_mode: enforce
interfaces: [{name: sw0}]
services:
  - {name: web, port: 443, kind: tls}
guards: {bake: 1h, lease: 1s, agent_timeout: 1h}
capacity: {prefixes_v4: 1000, prefixes_v6: 1000, flows: 1024, syns: 1024, rules: 64}
`

const (
	childVariable = "SPILLWAY_TEST_AGENT"
	fakeVariable  = "SPILLWAY_TEST_FAKE" // over a fake kernel
)

// TestMain is the agent when the test started this binary as one.
func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := runChild(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(path string) error {
	h, err := config.LoadHost(path)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := Options{Host: h, HostPath: path, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if os.Getenv(fakeVariable) != "" {
		overFake(&o)
	}
	return Run(ctx, o)
}

// site is a namespace with a veth pair, and the agents that run in it.
type site struct {
	t      *testing.T
	path   string
	host   *config.Host
	client *api.Client
	child  *exec.Cmd
	log    *os.File
	do     chan func()
}

func newSite(t *testing.T) *site {
	t.Helper()
	needKernel(t)
	pins := filepath.Join("/sys/fs/bpf", fmt.Sprintf("spillway-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	s := &site{t: t, do: make(chan func())}
	s.host, s.path = writeUnitHost(t, kernelHost, pins)
	s.client = api.NewClient(s.host.Listen.Socket)
	log, err := os.Create(filepath.Join(t.TempDir(), "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	ready := make(chan error)
	go s.namespace(ready)
	t.Cleanup(func() {
		s.client.Close()
		s.kill()
		if err := loader.DetachPins(pins); err != nil {
			t.Errorf("clean up: %v", err)
		}
		close(s.do)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the agent said:\n%s", text)
		}
		_ = log.Close()
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	s.in(s.addVeth)
	return s
}

// namespace runs functions on one thread in a network namespace that ends with it.
func (s *site) namespace(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with the thread
	ns, err := netns.New()
	ready <- err
	if err != nil {
		return
	}
	defer ns.Close()
	for f := range s.do {
		f()
	}
}

func (s *site) in(f func() error) {
	s.t.Helper()
	result := make(chan error)
	s.do <- func() { result <- f() }
	if err := <-result; err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) addVeth() error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sw0"}, PeerName: "sw1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	for _, name := range []string{"sw0", "sw1"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	return nil
}

func (s *site) deleteVeth() error {
	l, err := netlink.LinkByName("sw0")
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

func (s *site) start() {
	s.t.Helper()
	s.child = asUnit(s.t, s.host, s.path)
	s.child.Stdout, s.child.Stderr = s.log, s.log
	s.in(s.child.Start) // from the thread in the namespace: the child is born there
	eventually(s.t, "the agent answers", func() error {
		_, err := s.client.Status(context.Background())
		return err
	})
	s.hasRights()
}

// editHost changes the host file.
func (s *site) editHost(old, new string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	edited := strings.Replace(string(text), old, new, 1)
	if edited == string(text) {
		s.t.Fatalf("the host file has no %q", old)
	}
	if err := os.WriteFile(s.path, []byte(edited), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) kill() {
	if s.child == nil {
		return
	}
	_ = s.child.Process.Kill()
	_ = s.child.Wait()
	for s.child.Process.Signal(syscall.Signal(0)) == nil { // somebody else waits for it, and it is not gone yet
		time.Sleep(time.Millisecond)
	}
	s.child = nil
}

// kernel reads the pinned state without an agent.
func (s *site) kernel() *loader.Dataplane {
	s.t.Helper()
	d, err := loader.Adopt(s.host.Paths.Pins)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = d.Close() })
	return d
}

func (s *site) apply(name string, o api.ApplyOptions, entries ...string) *api.Change {
	s.t.Helper()
	u, err := api.Pack(writeBundle(s.t, name, entries...))
	if err != nil {
		s.t.Fatal(err)
	}
	in, err := s.client.Bundles(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range in.Bundles { // each of these bundles has the policy
		if b.Policy && b.Name != name {
			o.Remove = b.Name
		}
	}
	c, err := s.client.Apply(context.Background(), u, o)
	if err != nil {
		s.t.Fatalf("apply %s: %v", name, err)
	}
	return &c.Change
}

// wantStable checks what the kernel enforces, and that it holds every row of it.
func (s *site) wantStable(name string, candidate bool) {
	s.t.Helper()
	got, err := s.client.Status(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	got.Problems = slices.DeleteFunc(got.Problems, func(p api.Problem) bool { return p.Code == "candidate_held" })
	if !got.Protected || len(got.Problems) > 0 {
		s.t.Errorf("protected %v, problems %+v", got.Protected, got.Problems)
	}
	if (got.Control.Candidate != 0) != candidate {
		s.t.Errorf("candidate in slot %d", got.Control.Candidate)
	}
	for _, g := range got.Generations {
		if g.Role == loader.RoleStable && g.Name != name {
			s.t.Errorf("stable is %q, want %q", g.Name, name)
		}
	}
	v, err := s.client.Verify(context.Background())
	if err != nil || !v.OK {
		s.t.Errorf("verify: %+v, %v", v, err)
	}
}

func needKernel(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("these tests load programs into the kernel and need root")
		}
		t.Skip("left out: loading programs into the kernel needs root")
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatalf("mount bpffs: %v", err)
		}
	}
}

func TestKernelKillAndAdopt(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.wantStable("one", false)
	k := s.kernel()
	before := k.Control()
	s.kill()
	if a, err := k.Attachments(); err != nil || len(a) != 1 || a[0].State != loader.StateAttached {
		t.Fatalf("after SIGKILL: %+v, %v", a, err)
	}
	s.start()
	s.wantStable("one", false)
	if now := k.Control(); now != before {
		t.Errorf("the restart touched the control word: %+v, was %+v", now, before)
	}
	s.apply("two", api.ApplyOptions{}, "2001:db8:bad::/48", "198.18.7.0/24")
	s.wantStable("two", false)
	if _, err := s.client.Rollback(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	s.wantStable("one", false)
	if err := s.child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.child.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if a, err := k.Attachments(); err != nil || len(a) != 1 || a[0].State != loader.StateAttached || k.Control().Stable == 0 {
		t.Errorf("after SIGTERM: %+v, %+v, %v", a, k.Control(), err)
	}
}

func TestKernelCandidateFallsBackWhenTheAgentDies(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	s.wantStable("one", true)
	k := s.kernel()
	first := k.Lease()
	eventually(t, "the lease is renewed beyond its first end", func() error {
		if now := k.Lease(); now < first+loader.Deadline(s.host.Guards.Lease) {
			return fmt.Errorf("from %d to %d", first, now)
		}
		return nil
	})
	s.kill()
	eventually(t, "the lease ends", func() error {
		if k.Lease().Active() {
			return fmt.Errorf("%v left", k.Lease().Left())
		}
		return nil
	})
	s.start()
	s.wantStable("one", false)
	h, err := s.client.History(context.Background(), 1)
	if err != nil || h.Entries[0].Outcome != api.OutcomeHeld || h.Entries[0].Name != "two" {
		t.Errorf("history %+v, %v", h, err)
	}
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	if c, err := s.client.Confirm(context.Background(), ""); err != nil || c.Name != "two" {
		t.Fatalf("%+v, %v", c, err)
	}
	s.wantStable("two", false)
}

func TestKernelBansAndBypass(t *testing.T) {
	s := newSite(t)
	s.start()
	ctx := context.Background()
	if _, err := s.client.Ban(ctx, api.BanRequest{Prefix: "2001:db8::7", ForSeconds: 600}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Bypass(ctx, api.BypassRequest{On: true, Service: "web", ForSeconds: 600}); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if err := loader.DetachPins(s.host.Paths.Pins); err != nil { // as a reboot does
		t.Fatal(err)
	}
	s.start()
	list, err := s.client.Bans(ctx)
	if err != nil || len(list.Bans) != 1 || list.Bans[0].Prefix != "2001:db8::/64" {
		t.Errorf("bans after a reboot: %+v, %v", list, err)
	}
	k := s.kernel()
	host, err := k.Host()
	if err != nil {
		t.Fatal(err)
	}
	if web, _ := host.Service("web"); !k.ServiceBypass(web.ID).Active() || k.Bypass().Active() {
		t.Error("the bypass of the service did not survive a reboot")
	}
	if k.Control().Stable != bpf.SlotEmpty {
		t.Errorf("control %+v", k.Control())
	}
	if _, err := s.client.Rollback(ctx, ""); !strings.Contains(fmt.Sprint(err), "no previous") {
		t.Errorf("rollback without previous: %v", err)
	}
	var e *api.Error
	if _, err := s.client.Confirm(ctx, ""); !errors.As(err, &e) || e.Code != api.CodeNoCandidate {
		t.Errorf("confirm without candidate: %v", err)
	}
}

// A7: a stopped agent's candidate goes back when its lease ends, and does not come back when the agent goes on. It is held.
func TestKernelA7StoppedAgent(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	k := s.kernel()
	revived := func() bool {
		return k.Control().Candidate != bpf.SlotEmpty && k.Lease().Active() && k.Tripped() == 0
	}
	if !revived() {
		t.Fatal("the candidate does not decide")
	}
	if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease ends", func() error {
		if k.Lease().Active() {
			return fmt.Errorf("%v left", k.Lease().Left())
		}
		return nil
	})
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if revived() {
			t.Fatal("the candidate came back")
		}
	}
	s.wantStable("one", false)
	h, err := s.client.History(context.Background(), 1)
	if err != nil || h.Entries[0].Outcome != api.OutcomeHeld || h.Entries[0].Name != "two" {
		t.Errorf("history %+v, %v", h, err)
	}
	s.apply("two", api.ApplyOptions{}) // without a reason
}

// A14: the time for which an agent is stopped is no part of a bake.
func TestKernelA14BakeOfAStoppedAgent(t *testing.T) {
	const bake = 3 * time.Second
	s := newSite(t)
	s.editHost("bake: 1h", fmt.Sprintf("bake: %s", bake))
	s.start()
	begun := time.Now()
	s.apply("one", api.ApplyOptions{})
	if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ran := time.Since(begun)
	time.Sleep(bake + time.Second)
	begun = time.Now()
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it bakes at last", func() error {
		st, err := s.client.Status(context.Background())
		if err == nil && st.LastKnownGood == nil {
			err = errors.New("not yet")
		}
		return err
	})
	if ran += time.Since(begun); ran < bake-plane.BeatInterval { // a stop is known to a beat
		t.Errorf("it ran for %v and has baked", ran)
	}
}

// A14: a rollback beside a stopped agent, in the middle of an apply too, is one compare-and-swap on the pins. When the agent
// goes on it publishes nothing of what it built, and writes the rollback down.
func TestKernelA14RollbackBesideAStoppedAgent(t *testing.T) {
	const buildRows = 200_000 // it takes a while
	s := newSite(t)
	s.editHost("prefixes_v4: 1000,", fmt.Sprintf("prefixes_v4: %d,", buildRows))
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{})
	k := s.kernel()
	places := offline.Places{State: s.host.Paths.State, Pins: s.host.Paths.Pins, Host: s.host}
	back := func(to string) {
		t.Helper()
		beside, err := offline.Open(places, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer beside.Close()
		c, err := beside.Rollback(api.RollbackRequest{To: to, Reason: "it hangs"})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(c.Details, " "), "writes this down when it goes on") {
			t.Errorf("%+v", c)
		}
	}
	stop := func() {
		t.Helper()
		if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	rolledBack := 0
	goOn := func() {
		t.Helper()
		if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		rolledBack++
		// What was being built may be written down before it or after it.
		eventually(t, "it is written down", func() error {
			h, err := s.client.History(context.Background(), 100)
			if err != nil {
				return err
			}
			n := 0
			for _, e := range h.Entries {
				if e.Verb == "rollback" && e.Reason == "it hangs" {
					n++
				}
			}
			if n != rolledBack {
				return fmt.Errorf("%d of %d: %+v", n, rolledBack, h.Entries)
			}
			return nil
		})
	}
	stop()
	back("")
	goOn()
	s.wantStable("one", false)

	// Again, in the middle of an apply.
	u, err := api.Pack(large(t, buildRows))
	if err != nil {
		t.Fatal(err)
	}
	s.apply("two", api.ApplyOptions{Accept: "again"})
	answer := make(chan error, 1)
	go func() {
		_, err := s.client.Apply(context.Background(), u, api.ApplyOptions{Accept: "a test", Remove: "two"})
		answer <- err
	}()
	eventually(t, "it is being built", func() error {
		all, err := s.client.Rollouts(context.Background())
		if err == nil && all.Rollouts[0].State != api.RolloutBuilding {
			err = fmt.Errorf("%+v", all.Rollouts[0])
		}
		return err
	})
	stop()
	back("")
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	err = <-answer
	var e *api.Error
	if !errors.As(err, &e) { // a conflict; or, of what it found when it went on, that "two" is not in force
		t.Errorf("what was being built: %v", err)
	}
	goOn()
	s.wantStable("one", false)

	// A candidate does not come back.
	s.apply("two", api.ApplyOptions{Accept: "again", Confirm: time.Hour})
	stop()
	back("")
	goOn()
	if c := k.Control(); c.Candidate != bpf.SlotEmpty || k.Lease().Active() {
		t.Errorf("%+v, lease %v", c, k.Lease().Left())
	}
	eventually(t, "the record knows of no candidate", func() error {
		st, err := s.client.Status(context.Background())
		if err == nil && st.Confirm != nil {
			err = fmt.Errorf("%+v", st.Confirm)
		}
		return err
	})
}
