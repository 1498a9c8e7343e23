// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/api"
)

// A rollout in stages on a real kernel, decided by real connections: each visitor comes from a /48 of its own.
//
//	  namespace of the site                   namespace of the visitors
//	┌─────────────────────────────────┐     ┌──────────────────────────────────┐
//	│ server :443, agent ── XDP ─ sw0 │═════│ sw1, local 2001:db8::/32         │
//	│ fd00::1                         │     │ fd00::2                          │
//	└─────────────────────────────────┘     └──────────────────────────────────┘

const stagedGuards = "guards: {bake: 5s, lease: 2s, agent_timeout: 1h, rollout: staged, evidence: small, shadow: 10s, " +
	"canary: [{share: 50%, for: 10s}, {share: 100%, for: 10s}]}\n" +
	"allowlist: [{prefix: \"2001:db8:3fff::/48\", note: monitoring}]"

// visitors connect until they are stopped.
type visitors struct {
	site    *site
	do      chan func() // in their namespace
	hello   []byte
	server  net.Listener
	next    atomic.Uint32
	served  atomic.Int64
	refused atomic.Int64
	stop    chan struct{}
	wg      sync.WaitGroup
}

func newVisitors(s *site) *visitors {
	v := &visitors{site: s, do: make(chan func()), stop: make(chan struct{}), hello: clientHello(s.t)}
	ready := make(chan error)
	go v.namespace(ready)
	if err := <-ready; err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(v.close)
	s.in(func() error { return v.address("sw0", "fd00::1/64", "2001:db8::/32") })
	v.in(func() error { return v.address("sw1", "fd00::2/64", "") })
	s.in(func() (err error) {
		v.server, err = net.Listen("tcp", "[::]:443")
		return err
	})
	v.wg.Go(v.serve)
	return v
}

// namespace runs functions on one thread in the visitors' namespace, which gets sw1.
func (v *visitors) namespace(ready chan<- error) {
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		ready <- err
		return
	}
	defer ns.Close()
	v.site.in(func() error {
		l, err := netlink.LinkByName("sw1")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(ns))
	})
	ready <- nil
	for f := range v.do {
		f()
	}
}

func (v *visitors) in(f func() error) {
	v.site.t.Helper()
	result := make(chan error)
	v.do <- func() { result <- f() }
	if err := <-result; err != nil {
		v.site.t.Fatal(err)
	}
}

// address gives an end of the cable its address, and the way to the visitors, or their addresses themselves.
func (v *visitors) address(name, own, far string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(own)
	if err != nil {
		return err
	}
	a.Flags = unix.IFA_F_NODAD
	_, all, err := net.ParseCIDR("2001:db8::/32")
	if err = errors.Join(err, netlink.LinkSetUp(l), netlink.AddrAdd(l, a)); err != nil {
		return err
	}
	if far != "" {
		return netlink.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP("fd00::2"), LinkIndex: l.Attrs().Index})
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(lo), netlink.RouteAdd(&netlink.Route{Dst: all, LinkIndex: lo.Attrs().Index,
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST}))
}

// serve answers each hello with a byte, and waits for the end of the visitor.
func (v *visitors) serve() {
	for {
		c, err := v.server.Accept()
		if err != nil {
			return
		}
		v.wg.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				return
			}
			_, _ = c.Write([]byte{1})
			_, _ = io.Copy(io.Discard, c)
		})
	}
}

// clientHello is what crypto/tls says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "example.org", InsecureSkipVerify: true}).Handshake()
	}()
	defer near.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, rest); err != nil {
		t.Fatal(err)
	}
	return append(head, rest...)
}

// come lets visitors come, each from another of 8,192 prefixes, until end is called.
func (v *visitors) come(each time.Duration) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(each):
				}
				wg.Go(func() { v.visit(source(v.next.Add(1) * 0x9e3779b1 % 0x2000)) })
			}
		})
	}
	return sync.OnceFunc(func() { close(stop); wg.Wait() })
}

// source is an address of the nth /48.
func source(n uint32) netip.Addr {
	a := netip.MustParseAddr("2001:db8::7").As16()
	binary.BigEndian.PutUint16(a[4:], uint16(n))
	return netip.AddrFrom16(a)
}

// visit is one connection, from its SYN to its end, and says whether it was served.
func (v *visitors) visit(from netip.Addr) bool {
	fd := -1
	v.do <- func() { fd, _ = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) }
	v.do <- func() {} // the first has run
	if fd < 0 {
		return false
	}
	f := os.NewFile(uintptr(fd), "visitor")
	defer f.Close()
	timeout := unix.NsecToTimeval(int64(3 * time.Second))
	err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: 443, Addr: netip.MustParseAddr("fd00::1").As16()})
	}
	if err == nil {
		_, err = unix.Write(fd, v.hello)
	}
	if err == nil {
		if n, _ := unix.Read(fd, make([]byte, 1)); n == 1 {
			v.served.Add(1)
			return true
		}
	}
	v.refused.Add(1)
	return false
}

func (v *visitors) close() {
	_ = v.server.Close()
	v.wg.Wait()
	close(v.do)
}

// stagedBundle blocks prefixes, and says what it may.
func stagedBundle(t *testing.T, name, intent, entries string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("version: 1\nname: %[1]s\nrules: [{id: %[1]s, label: %[1]s, score: 100}]\n"+
		"features:\n  prefixes: [{list: %[1]s, rule: %[1]s, file: list.netset}]\n%[2]s"+
		"policy: {default: {drop: 80}}\n", name, intent)
	for file, data := range map[string]string{"bundle.yaml": text, "list.netset": entries} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// roll applies a bundle and waits for the end of its rollout.
func (s *site) roll(dir string, passes func(*api.Rollout)) *api.Rollout {
	s.t.Helper()
	u, err := api.Pack(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	ro, err := s.client.Apply(context.Background(), u, api.ApplyOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.await(ro.ID, passes)
}

// await waits for the end of a rollout.
func (s *site) await(id string, passes func(*api.Rollout)) *api.Rollout {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(300 * time.Millisecond) {
		all, err := s.client.Rollouts(context.Background())
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range all.Rollouts {
			now := &all.Rollouts[i]
			if now.ID != id {
				continue
			}
			if passes != nil {
				passes(now)
			}
			if now.Over() {
				return now
			}
			if time.Now().After(deadline) {
				s.t.Fatalf("it goes on: %+v, %+v, %+v", now, now.Staged, now.Staged.Evidence)
			}
		}
	}
}

// A14, A16, A19: what blocks a protected source is refused in shadow, what blocks beside its intent is held there with
// the rule to blame, and neither decides for anybody; what does as it says goes all the way.
func TestKernelRolloutInStages(t *testing.T) {
	s := newSite(t)
	s.editHost("guards: {bake: 1h, lease: 1s, agent_timeout: 1h, rollout: direct}", stagedGuards)
	s.editHost("flows: 1024, syns: 1024", "flows: 16384, syns: 16384")
	v := newVisitors(s)
	s.start()
	k := s.kernel()
	end := v.come(25 * time.Millisecond)
	defer end()
	decided := func(*api.Rollout) {
		if c := k.Control(); c.Canary > 0 || c.Stable != 0 {
			t.Errorf("it decides: %+v", c)
		}
	}
	protected := s.roll(stagedBundle(t, "wide", "", "2001:db8:3000::/36\n"), func(ro *api.Rollout) {
		decided(ro)
		v.visit(netip.MustParseAddr("2001:db8:3fff::7"))
	})
	if protected.State != api.RolloutRefused || protected.Staged.Verdict.Gate != "protected" ||
		!protected.Staged.Verdict.Quarantined || !strings.Contains(protected.Message, "2001:db8:3fff::/48") {
		t.Errorf("%s: %s, %+v", protected.State, protected.Message, protected.Staged.Verdict)
	}
	blamed := s.roll(stagedBundle(t, "mistake", "", "2001:db8:1000::/37\n"), decided)
	if blamed.State != api.RolloutHeld || blamed.Staged.Verdict.Gate != "intent" || blamed.Staged.Verdict.Quarantined ||
		len(blamed.Staged.Evidence.Blame) == 0 || blamed.Staged.Evidence.Blame[0].Label != "mistake" {
		t.Errorf("%s: %s, %+v", blamed.State, blamed.Message, blamed.Staged)
	}
	before := v.refused.Load()
	stages := map[string]bool{}
	good := s.roll(stagedBundle(t, "scanner", "intent: {expects: {new_blocks: 20%, by: [scanner]}}\n",
		"2001:db8:0::/37\n"), func(ro *api.Rollout) {
		if !stages[ro.Staged.Stage] { // somebody sets the wall clock in each stage
			s.setWall([]time.Duration{2 * time.Hour, -time.Hour, 26 * time.Hour, -30 * time.Hour, 0}[len(stages)%5])
		}
		stages[ro.Staged.Stage] = true
	})
	if good.State != api.RolloutDone {
		t.Fatalf("%s: %s, %+v", good.State, good.Message, good.Staged)
	}
	for _, stage := range []string{api.StageShadow, api.StageCanary, api.StageBake, api.StageDone} {
		if !stages[stage] {
			t.Errorf("it was never in %s: %v", stage, stages)
		}
	}
	st, err := s.client.Status(context.Background())
	if err != nil || st.LastKnownGood == nil || st.LastKnownGood.Name != "scanner" {
		t.Errorf("last-known-good %+v, %v", st.LastKnownGood, err)
	}
	if v.refused.Load() == before {
		t.Error("nobody was blocked")
	}
	all, err := k.Generations()
	if err != nil || len(all) == 0 || k.Control().Candidate != 0 || k.Control().Pair || k.Control().Budget {
		t.Errorf("%+v, %+v, %v", k.Control(), all, err)
	}
	hostInStages(t, s, v)
}
