// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
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

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/taste"
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
guards: {bake: 1h, lease: 1s, agent_timeout: 1h, rollout: direct}
capacity: {prefixes_v4: 1000, prefixes_v6: 1000, flows: 1024, syns: 1024, rules: 64}
`

const (
	childVariable = "SPILLWAY_TEST_AGENT"
	fakeVariable  = "SPILLWAY_TEST_FAKE" // over a fake kernel
)

// TestMain is the agent when the test started this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == taste.Command { // the agent's child
		if err := taste.RunArgs(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
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
	} else {
		o.Now, o.clock = func() time.Time { return wall(path) }, func() compile.Clock {
			now := loader.Now()
			now.Wall = wall(path)
			return now
		}
	}
	return Run(ctx, o)
}

// wall is the wall clock of an agent, as somebody set it. Moments of it are wall time alone then.
func wall(path string) time.Time {
	text, err := os.ReadFile(path + ".wall")
	if err != nil {
		return time.Now() // nobody set it
	}
	by, _ := time.ParseDuration(string(text))
	return time.Now().Round(0).Add(by)
}

// setWall sets the wall clock of the agent by a step.
func (s *site) setWall(by time.Duration) {
	s.t.Helper()
	if err := os.WriteFile(s.path+".wall", []byte(by.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
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
