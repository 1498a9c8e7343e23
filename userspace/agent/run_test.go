// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

// eventually polls until f returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// noPins is a pin folder of this test alone, for an agent over a fake kernel: what looks at it by its path, beside the
// fake, meets nobody else's.
func noPins(t *testing.T) string {
	path := filepath.Join("/sys/fs/bpf", fmt.Sprintf("spillway-none-%d-%d", os.Getpid(), noneNumber.Add(1)))
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	return path
}

var noneNumber atomic.Int64

// writeHost makes a host file in a folder of its own and loads it.
func writeHost(t *testing.T, dir, yaml, pins, scrape string) (*config.Host, string) {
	t.Helper()
	path := filepath.Join(dir, "spillway.yaml")
	yaml += fmt.Sprintf("listen: {socket: %s/run/spillway.sock, metrics: %q}\npaths: {state: %s/state, pins: %s}\n",
		dir, scrape, dir, pins)
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := config.LoadHost(path)
	if err != nil {
		t.Fatal(err)
	}
	return h, path
}

// writeBundle makes a bundle that blocks 198.51.100.0/24.
func writeBundle(t *testing.T, name string, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	for file, data := range bundleYAML(name, entries...) {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A whole agent over its socket, with a fake kernel: systemd's datagrams, scrapes, events, SIGHUP, the end.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	scrape := freePort(t)
	h, path := writeHost(t, dir, hostYAML, noPins(t), scrape)
	m := newMachine(time.Now)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	hup := make(chan struct{})
	o := Options{Host: h, HostPath: path, Version: "v0", Reload: hup,
		Notify: sdnotify.New(func(name string) string {
			return map[string]string{"NOTIFY_SOCKET": filepath.Join(dir, "notify"), "WATCHDOG_USEC": "3000000"}[name]
		})}
	o.owner = m.own
	o.open = func(loader.Options) (dataplane, error) { return &fake{m, h}, nil }
	o.links = func(context.Context) <-chan struct{} { return nil }
	o.network = fakeNetwork{machine: m}
	o.own = func() ([]netip.Addr, error) { return nil, nil }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()

	wantDatagram(t, systemd, "READY=1", "STATUS=NOT PROTECTED: no bundle")
	c := api.NewClient(h.Listen.Socket)
	defer c.Close()
	u, err := api.Pack(writeBundle(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Apply(ctx, u, api.ApplyOptions{Reason: "test"}); err != nil || got.Outcome != api.OutcomeApplied {
		t.Fatalf("%+v, %v", got, err)
	}
	wantDatagram(t, systemd, "WATCHDOG=1", "STATUS=Protected: what the rules find is blocked (mode enforce); generation 1")
	checkEvents(t, c, m)
	eventually(t, "scrape", func() error {
		return scraped(scrape, `spillway_protected{interface="eth0"} 1`, `spillway_applies_total{outcome="applied"} 1`)
	})
	hist, err := c.History(ctx, 0)
	if err != nil || hist.Entries[0].UID != uint32(os.Getuid()) || hist.Entries[0].Reason != "test" {
		t.Errorf("history %+v, %v", hist, err)
	}
	if rules, err := c.Rules(ctx); err != nil || len(rules.Rules) != 2 || rules.Rules[1].ID != "scan" ||
		rules.Rules[1].Label != "scanner" {
		t.Errorf("rules %+v, %v", rules, err)
	}
	if _, err := state.Open(h.Paths.State, state.Options{}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("the state is not locked: %v", err)
	}
	if err := Run(ctx, o); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second agent: %v", err)
	}
	writeHost(t, dir, strings.ReplaceAll(hostYAML, "enforce", "observe"), h.Paths.Pins, scrape)
	hup <- struct{}{}
	eventually(t, "SIGHUP", func() error {
		if s, err := c.Status(ctx); err != nil || s.Mode != "observe" {
			return fmt.Errorf("mode %v, %v", s, err)
		}
		return nil
	})
	stop()
	wantDatagram(t, systemd, "STOPPING=1", "")
	if err := <-done; err != nil {
		t.Errorf("the end: %v", err)
	}
	if m.Control().Stable == 0 || len(m.links) != 1 {
		t.Errorf("the end took something back: %+v, links %v", m.Control(), m.links)
	}
	if _, err := c.Status(context.Background()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("after the end: %v", err)
	}
}

// wantDatagram reads until one datagram holds both lines' beginnings.
func wantDatagram(t *testing.T, from *net.UnixConn, state, status string) {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			t.Fatalf("systemd never heard %s with %q: %v", state, status, err)
		}
		if text := string(buf[:n]); strings.Contains(text, state) && strings.Contains(text, status) {
			return
		}
	}
}

func scraped(addr string, want ...string) error {
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	for _, w := range want {
		if !strings.Contains(string(data), w+"\n") {
			return fmt.Errorf("%q is not in the scrape", w)
		}
	}
	return nil
}

func checkEvents(t *testing.T, c *api.Client, m *machine) {
	t.Helper()
	var e bpf.Event
	e.TimeNs, e.Generation, e.Rule, e.Service, e.Score = loader.Now().MonotonicNS, 1, 1, 1, 90
	e.Reason, e.Outcome = uint8(bpf.ReasonTCPFingerprint), uint8(bpf.OutcomeWouldDrop)
	e.Key.Saddr = addressWords("::ffff:198.51.100.7")
	e.Key.Daddr = addressWords("2001:db8::1")
	e.Key.Sport, e.Key.Dport = bigEndian(40000), bigEndian(443)
	e.HasFingerprint, e.Fingerprint.Window, e.Facts = 1, 1024, bpf.TCPFacts{Version: 4, Ttl: 60}
	hello, err := compile.ParseJA4("t13d1516h2_8daaf6152771_02713d6af862")
	if err != nil {
		t.Fatal(err)
	}
	e.HasTls, e.Tls = 1, hello
	e.Tls.StableCount = [2]uint8{'1', '4'}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	got := errors.New("got one")
	var seen api.Event
	go func() { m.events <- e }()
	if err := c.Events(ctx, 1, true, func(e api.Event) error { seen = e; return got }); !errors.Is(err, got) {
		t.Fatal(err)
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case m.events <- e:
			case <-ctx.Done():
			}
		}
	}()
	if err := c.Watch(ctx, func(api.Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.tellAll.Left() <= 0 {
			t.Error("somebody watches, and the kernel was not asked to tell of every decision")
		}
		return got
	}); !errors.Is(err, got) {
		t.Fatal(err)
	}
	score := 90
	cancel()
	want := api.Event{Envelope: api.NewEnvelope(), Sequence: 1, Time: seen.Time, Source: "198.51.100.7", SourcePort: 40000,
		Destination: "2001:db8::1", DestinationPort: 443,
		Service: "web", Generation: 1, Stage: "packet", Reason: "tcp_fingerprint", Verdict: "would_drop", Score: &score,
		Rule: "scan", Label: "scanner",
		MuonFP: "1024:::", P0F: "4:60+4:0:0:1024,0:::0", JA4: "t13d1516h2_8daaf6152771_02713d6af862",
		StableJA4: "t13d1514h2_8daaf6152771_02713d6af862"}
	if fmt.Sprintf("%+v %d", withoutScore(seen), *seen.Score) != fmt.Sprintf("%+v %d", withoutScore(want), *want.Score) {
		t.Errorf("got %+v, want %+v", seen, want)
	}
	if age := time.Since(seen.Time); age < 0 || age > time.Minute {
		t.Errorf("the event is %v old", age)
	}
}

func withoutScore(e api.Event) api.Event { e.Score = nil; return e }

func addressWords(text string) [4]uint32 {
	b := netip.MustParseAddr(text).As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// Without a disk the agent serves all the same.
func TestStateFolderThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	h, path := writeHost(t, dir, hostYAML, noPins(t), "")
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	m := newMachine(time.Now)
	o := Options{Host: h, HostPath: path}
	o.owner = m.own
	o.open = func(loader.Options) (dataplane, error) { return &fake{m, h}, nil }
	o.links = func(context.Context) <-chan struct{} { return nil }
	o.network = fakeNetwork{machine: m}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	c := api.NewClient(h.Listen.Socket)
	defer c.Close()
	eventually(t, "status", func() error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if !hasProblem(s, ledger.ProblemState) || s.Control == nil || s.Control.Host == 0 {
			return fmt.Errorf("problems %v, control %v", s.Problems, s.Control)
		}
		return nil
	})
	u, err := api.Pack(writeBundle(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apply(ctx, u, api.ApplyOptions{})
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, syscall.ENOTDIR.Error()) || m.Control().Stable != 0 {
		t.Errorf("apply without a disk: %v", err)
	}
	if err := Run(ctx, o); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second agent without a disk: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
