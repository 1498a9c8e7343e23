// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hanging is a socket whose agent takes connections in the kernel's backlog and does not run; wake lets it go on.
func hanging(t *testing.T, b *backend) (c *Client, s *Server, wake func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "0")
	if err != nil {
		t.Fatal(err)
	}
	s = NewServer(ServerOptions{Role: RoleOperate, Socket: path, Operate: path, Log: slog.New(slog.DiscardHandler)},
		behind(b))
	done := make(chan error, 1)
	woken := false
	t.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		_ = l.Close()
		if woken {
			<-done
		}
	})
	c = NewClient(path)
	c.Patience = 300 * time.Millisecond
	return c, s, func() { woken = true; go func() { done <- s.Serve(l) }() }
}

// F18: whoever asks an agent that hangs is told so in time, with its process; what was asked never runs, whatever the
// verb.
func TestF18WhatWasCancelledNeverRuns(t *testing.T) {
	b := &backend{}
	c, s, wake := hanging(t, b)
	tried := map[string]bool{}
	for _, r := range s.routes() {
		if r.pattern == "GET /v1/ping" {
			continue
		}
		method, path := example(r)
		begun := time.Now()
		_, err := call[Change](context.Background(), c, method, path, typeJSON, strings.NewReader(bodyOf(r)))
		var hung *Hung
		if !errors.As(err, &hung) || hung.PID != os.Getpid() || time.Since(begun) > 30*time.Second {
			t.Errorf("%s: %v after %s", r.pattern, err, time.Since(begun))
		}
		if r.verb != "" {
			tried[r.verb] = true
		}
	}
	for _, verb := range []string{"apply", "confirm", "withdraw", "remove", "rollback", "reload",
		"bypass", "ban", "unban"} {
		if !tried[verb] {
			t.Errorf("%s was not tried", verb)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), bytes.Repeat([]byte("#\n"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(context.Background(), u, ApplyOptions{}); !errors.As(err, new(*Hung)) {
		t.Errorf("apply of a bundle: %v", err)
	}
	wake()
	c.Patience = 0
	for { // whoever came before was looked at by then, or is soon
		_, err := c.Status(context.Background())
		if err == nil {
			break
		}
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeOverloaded {
			t.Fatal(err)
		}
		c.Close()
	}
	time.Sleep(200 * time.Millisecond)
	if b.call != "" {
		t.Errorf("what was cancelled ran: %s", b.call)
	}
}

// bodyOf is a body that a change accepts.
func bodyOf(r route) string {
	switch r.pattern {
	case "POST /v1/rollouts", "POST /v1/plan":
		return `{"remove":"edge"}`
	case "POST /v1/bypass":
		return `{"on":true}`
	case "POST /v1/bans":
		return `{"prefix":"192.0.2.7"}`
	}
	return "{}"
}

// Whoever hung up did not mean it any more; whoever only ended its writing waits.
func TestHungUp(t *testing.T) {
	for what, row := range map[string]struct {
		end  func(*net.UnixConn) error
		want bool
	}{
		"waits": {func(*net.UnixConn) error { return nil }, false}, "ended its writing": {(*net.UnixConn).CloseWrite, false},
		"hung up": {(*net.UnixConn).Close, true},
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "what is still in the buffer"); err != nil {
			t.Fatal(err)
		}
		if err := row.end(conn); err != nil {
			t.Fatal(err)
		}
		there, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := hungUp(there); got != row.want {
			t.Errorf("%s: %v", what, got)
		}
		_ = there.Close()
		_ = conn.Close()
		_ = l.Close()
	}
}

// A slow agent answers pings, and is waited for far beyond the patience with one that hangs.
func TestF18SlowIsNotHung(t *testing.T) {
	b := &slowBackend{backend: &backend{}, takes: 2 * time.Second}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{Role: RoleOperate, Socket: path, Log: slog.New(slog.DiscardHandler)}, behind(b))
	go func() { _ = s.Serve(l) }()
	defer s.Shutdown(context.Background())
	c := NewClient(path)
	c.Patience = time.Second
	told := make(chan time.Duration, 100)
	c.Alive = func(since time.Duration) { told <- since }
	if _, err := c.Rollback(context.Background(), "slow"); err != nil || b.call != "rollback slow" {
		t.Errorf("%v, %q", err, b.call)
	}
	if len(told) == 0 {
		t.Error("nobody was told that it lives")
	}
}

type slowBackend struct {
	*backend
	takes time.Duration
}

func (b *slowBackend) Rollback(ctx context.Context, by Caller, r RollbackRequest) (*Change, error) {
	time.Sleep(b.takes)
	if err := Late(ctx); err != nil {
		return nil, err
	}
	return b.backend.Rollback(ctx, by, r)
}

// A stream of events ends when the agent hangs, with an error that says so.
func TestF18StreamOfAHungAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		<-stop
		conn.Close()
	}()
	c := NewClient(path)
	c.Patience = 300 * time.Millisecond
	err = c.Events(context.Background(), 0, true, func(Event) error { return nil })
	var hung *Hung
	if !errors.As(err, &hung) || hung.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
}

// listenWithout makes a socket whose backlog holds nobody but the first.
func listenWithout(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	return f, errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0))
}

// The backlog of an agent that hangs may be full: then the lock says whose it is.
func TestF18FullBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := listenWithout(path)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	lock, err := os.Create(path + LockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for { // until it is full
		conn, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	c := NewClient(path)
	c.Patience = time.Second
	_, err = c.Status(context.Background())
	var hung *Hung
	if !errors.As(err, &hung) || hung.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
}

// Who may not connect to the socket for everything looks through the other one, and changes nothing.
func TestLooksThroughTheReadSocket(t *testing.T) {
	b, dir := &backend{}, t.TempDir()
	_, _, read := serveRole(t, b, RoleRead, dir)
	c := NewClient(filepath.Join(dir, "operate.sock"))
	c.ReadSocket = read
	c.dial = func(ctx context.Context, path string) (net.Conn, error) {
		if path != read {
			return nil, &net.OpError{Op: "dial", Err: os.ErrPermission}
		}
		return dial(ctx, path)
	}
	if s, err := c.Status(context.Background()); err != nil || s.Mode != "observe" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Rollback(context.Background(), ""); !errors.Is(err, os.ErrPermission) ||
		!errors.Is(err, ErrUnreachable) {
		t.Errorf("a change: %v", err)
	}
}
