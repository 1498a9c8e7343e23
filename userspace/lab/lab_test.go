// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// leftovers lists what carries an id that begins with prefix: folders, names,
// mounts; and the lab's links where they must never be.
func leftovers(t *testing.T, prefix string) []string {
	t.Helper()
	found := []string{}
	for _, pattern := range []string{stateDir + "/" + prefix + "*", stateDir + "/." + prefix + "*",
		netnsDir + "/" + prefix + "*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/"+prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Name == edgeIf || l.Name == outIf {
			found = append(found, "link "+l.Name)
		}
	}
	return found
}

// ownPrefix begins the ids of this process's labs, and of no other's.
func ownPrefix() string { return fmt.Sprintf("%s%d-", idPrefix, os.Getpid()) }

func noLeftovers(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff([]string{}, leftovers(t, ownPrefix())); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

// openFiles counts descriptors by what they are open on, sockets and pidfds
// without their numbers.
func openFiles(t *testing.T) map[string]int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || strings.HasPrefix(to, "/proc/") {
			continue // the one that lists
		}
		kind, _, _ := strings.Cut(to, "[")
		if strings.HasPrefix(kind, "/") {
			continue // other tests' files
		}
		kinds[kind]++
	}
	return kinds
}

func TestCloseLeavesNothing(t *testing.T) {
	requireRoot(t)
	run := func() {
		l, err := New(t.Context(), Options{Name: "twice"})
		if err != nil {
			t.Fatal(err)
		}
		if got := leftovers(t, l.ID()); len(got) < 5 {
			t.Errorf("a running lab shows only %q: the check below would prove nothing", got)
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		noLeftovers(t)
	}
	run() // the first run opens what the Go runtime keeps
	files := openFiles(t)
	run()
	if diff := cmp.Diff(files, openFiles(t)); diff != "" {
		t.Errorf("open files before and after a run (-want +got):\n%s", diff)
	}
}

func TestNewFailsCleanly(t *testing.T) {
	requireRoot(t)
	var names []string
	l := &Lab{}
	for _, s := range l.steps(t.Context(), "") {
		names = append(names, s.name)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			broken := errors.New("injected")
			_, err := build(t.Context(), Options{}, func(step string) error {
				if step == name {
					return broken
				}
				return nil
			})
			if !errors.Is(err, broken) {
				t.Errorf("error %v, want the injected one", err)
			}
			noLeftovers(t)
		})
	}
}

func TestNewObeysContext(t *testing.T) {
	requireRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := build(ctx, Options{}, func(step string) error {
		if step == "veth" {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	noLeftovers(t)
}

func netnsOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestDo(t *testing.T) {
	l := newLab(t)
	home := netnsOf(t, "/proc/self/ns/net")
	want := netnsOf(t, l.Edge.Path())
	var inside uint64
	broken := errors.New("broken")
	err := l.Edge.Do(func() error {
		inside = netnsOf(t, "/proc/thread-self/ns/net")
		if _, err := net.InterfaceByName(l.EdgeIf); err != nil {
			t.Error(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if inside != want || inside == home {
		t.Errorf("namespace inside Do is %d, want %d and not %d", inside, want, home)
	}

	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("recovered %v, want the panic of fn", got)
			}
		}()
		_ = l.Edge.Do(func() error { panic("boom") })
	}()

	exited := make(chan bool)
	go func() {
		returned := false
		defer func() { exited <- !returned }()
		_ = l.Edge.Do(func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	if !<-exited {
		t.Error("runtime.Goexit in fn did not end the caller")
	}

	// Every thread but the two that live in the namespaces is at home.
	eventually(t, "two threads are away", func() bool { return awayThreads(t, home) == 2 })
}

func awayThreads(t *testing.T, home uint64) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	away := 0
	for _, path := range tasks {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Ino != home {
			away++
		}
	}
	return away
}

func TestStart(t *testing.T) {
	l := newLab(t)
	cmd := exec.Command("readlink", "/proc/self/ns/net", "/proc/self/ns/mnt")
	var out strings.Builder
	cmd.Stdout = &out
	if err := l.Edge.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	mnt, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("net:[%d]\n%s\n", netnsOf(t, l.Edge.Path()), mnt)
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("namespaces of a child (-want +got):\n%s", diff)
	}
}

func TestCloseKillsGroup(t *testing.T) {
	l := newLab(t)
	// The shell's own child writes its process id and waits for ever.
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo $!; wait")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Out.Start(cmd); err != nil {
		t.Fatal(err)
	}
	var grandchild int
	if _, err := fmt.Fscan(pipe, &grandchild); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself, want killed")
	}
	eventually(t, "the grandchild is gone", func() bool { return !running(grandchild) })
	if err := l.Edge.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close: %v, want %v", err, ErrClosed)
	}
	if err := l.Edge.Start(exec.Command("true")); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v, want %v", err, ErrClosed)
	}
}

// running says whether a process runs; a zombie whose parent does not wait,
// as an init may, does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestListenAndDial(t *testing.T) {
	l := newLab(t)
	extra := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8:7::7")}
	if err := l.AddOutAddrs(extra...); err != nil {
		t.Fatal(err)
	}
	for _, src := range append(extra, visitorSources().v4[31], visitorSources().v6[31]) {
		t.Run(src.String(), func(t *testing.T) {
			ln, err := l.Edge.Listen("tcp", netip.AddrPortFrom(edgeAddrFor(src), 0).String())
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			conn, err := l.Out.Dialer(src).DialContext(t.Context(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			peer, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			from := netip.MustParseAddrPort(peer.RemoteAddr().String())
			if from.Addr() != src {
				t.Errorf("connection comes from %s, want %s", from.Addr(), src)
			}
		})
	}
}

// routeOut makes the out side send a prefix to the edge.
func (l *Lab) routeOut(p netip.Prefix) error {
	return l.Out.call(func() error {
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.OutIndex, Dst: ipNet(p), Gw: EdgeAddr4.AsSlice()})
	})
}

func TestDialerErrors(t *testing.T) {
	l := newLab(t)
	d := l.Out.Dialer(visitorSources().v4[0])
	_, err := d.DialContext(t.Context(), "tcp", netip.AddrPortFrom(EdgeAddr4, 9).String())
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial a closed port: %v, want %v", err, unix.ECONNREFUSED)
	}
	// Nobody has this address: the edge sends the SYN back to the out side,
	// which drops it.
	const nobody = "198.51.100.1:443"
	if err := l.routeOut(netip.MustParsePrefix("198.51.100.0/24")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = d.DialContext(ctx, "tcp", nobody)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial nobody: %v, want a time-out", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = d.DialContext(ctx, "tcp", nobody)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("dial with a cancelled context: %v, want %v", err, context.Canceled)
	}
	if _, err := d.DialContext(t.Context(), "udp", "198.18.0.1:9"); err == nil {
		t.Error("dial udp: no error")
	}
}
