// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ask sends one request on a socket, as it is.
func ask(t *testing.T, c *Client, method, path, body string) (int, *Error) {
	t.Helper()
	req, err := http.NewRequest(method, "http://spillway"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply errorReply
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, reply.Error
}

// example returns method and path of a route, with something in the place of its wildcards.
func example(r route) (method, path string) {
	method, path, _ = strings.Cut(r.pattern, " ")
	return method, strings.NewReplacer("{name}", "edge", "{id}", "7", "{prefix...}", "192.0.2.0/24").Replace(path)
}

// The read socket answers every look and refuses every change, whoever asks: root too.
func TestReadSocketChangesNothing(t *testing.T) {
	b := &backend{}
	c, s, _ := serveRole(t, b, RoleRead, t.TempDir())
	looks, changes := 0, 0
	for _, r := range s.routes() {
		method, path := example(r)
		status, refusal := ask(t, c, method, path, `{"on":true}`)
		if r.needs == RoleRead && r.verb == "" {
			looks++
			if status != http.StatusOK {
				t.Errorf("%s: status %d, %v", r.pattern, status, refusal)
			}
			continue
		}
		changes++
		if status != http.StatusForbidden || refusal.Code != CodeForbidden || !strings.Contains(refusal.Fix, s.Operate) {
			t.Errorf("%s: status %d, %v", r.pattern, status, refusal)
		}
	}
	if looks < 10 || changes < 10 {
		t.Errorf("%d looks and %d changes were tried", looks, changes)
	}
	if b.call != "" || b.files != nil {
		t.Errorf("the backend was asked %q", b.call)
	}
	if status, _ := ask(t, c, "GET", "/v1/events?all=true", ""); status != http.StatusForbidden {
		t.Errorf("every decision: status %d", status)
	}
}

// A role is the socket's: no header and no query of the caller makes another of it.
func TestRoleIsNobodysClaim(t *testing.T) {
	c, _, _ := serveRole(t, &backend{}, RoleRead, t.TempDir())
	req, err := http.NewRequest("POST", "http://operate/v1/rollback?role=operate", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"Role", "X-Role", "Spillway-Role", "Authorization"} {
		req.Header.Set(h, "operate")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// Who opens connections without end on one socket holds nobody on the other, and not the kill switch on the same one.
func TestConnectionsAreCountedByRole(t *testing.T) {
	b, dir := &backend{}, t.TempDir()
	operate, o, _ := serveRole(t, b, RoleOperate, dir)
	read, r, readPath := serveRole(t, b, RoleRead, dir)
	hold := func(path string, n int) {
		t.Helper()
		for range n {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if _, err := io.WriteString(conn, "GET /v1/ping HTTP/1.1\r\nHost: s\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold(readPath, r.Role.limits().connections)
	_, err := read.Status(context.Background())
	var full *Error
	if !errors.As(err, &full) || full.Code != CodeOverloaded || full.Status != http.StatusServiceUnavailable {
		t.Errorf("one connection too many: %v", err)
	}
	if _, err := operate.Rollback(context.Background(), ""); err != nil {
		t.Errorf("the other socket: %v", err)
	}
	operate.Close()
	hold(o.Socket, o.Role.limits().connections)
	if _, err := operate.Status(context.Background()); !errors.As(err, &full) || full.Code != CodeOverloaded {
		t.Errorf("one connection too many: %v", err)
	}
	operate.Close()
	if _, err := operate.Bypass(context.Background(), BypassRequest{On: true}); err != nil {
		t.Errorf("the kill switch waits for a place: %v", err)
	}
}

// Readers of events are counted too.
func TestStreamsAreBounded(t *testing.T) {
	b := &backend{next: make(chan Event)}
	c, s, _ := serveRole(t, b, RoleRead, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range s.Role.limits().streams {
		go func() { _ = c.Events(ctx, 0, true, func(Event) error { return nil }) }()
	}
	for deadline := time.Now().Add(30 * time.Second); len(s.streams) < cap(s.streams); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the streams do not begin")
		}
	}
	err := c.Events(context.Background(), 0, true, func(Event) error { return nil })
	var busy *Error
	if !errors.As(err, &busy) || busy.Code != CodeBusy {
		t.Errorf("one more stream: %v", err)
	}
	if _, err := c.Status(context.Background()); err != nil {
		t.Errorf("status beside the streams: %v", err)
	}
}

// All bans, the whole history, a comparison of every row: a few at once on a socket, and the rest goes on beside them.
func TestHeavyRequestsAreBounded(t *testing.T) {
	b := &waiting{backend: &backend{}, release: make(chan struct{}), begun: make(chan struct{}, 16)}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{Role: RoleRead, Socket: path, Log: slog.New(slog.DiscardHandler)}, behind(b))
	go func() { _ = s.Serve(l) }()
	defer s.Shutdown(context.Background())
	c := NewClient(path)
	answers := make(chan error, 16)
	for range cap(s.heavy) + 1 {
		go func() { answers <- second(c.Verify(context.Background())) }()
	}
	for range cap(s.heavy) {
		<-b.begun
	}
	if _, err := c.Status(context.Background()); err != nil {
		t.Errorf("status beside them: %v", err)
	}
	var busy *Error
	if err := <-answers; !errors.As(err, &busy) || busy.Code != CodeBusy { // after heavyTime
		t.Errorf("one more: %v", err)
	}
	go func() { answers <- second(c.Bans(context.Background())) }()
	time.Sleep(50 * time.Millisecond)
	close(b.release)
	for range cap(s.heavy) + 1 {
		if err := <-answers; err != nil {
			t.Errorf("who waited for a place: %v", err)
		}
	}
}

type waiting struct {
	*backend
	begun, release chan struct{}
}

func (w *waiting) Verify(ctx context.Context) (*Verification, error) {
	w.begun <- struct{}{}
	<-w.release
	return w.backend.Verify(ctx)
}

func second[T any](_ T, err error) error { return err }

// Who asks and does not read ends after a while; nothing else does.
func TestReaderWhoTakesNothing(t *testing.T) {
	b := &backend{past: make([]Event, 100_000)}
	_, s, path := serve(t, b)
	s.patient = time.Second
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/events?recent=100000 HTTP/1.1\r\nHost: s\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begun := false
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it holds its place for ever")
		}
		begun = begun || len(s.streams) > 0
		if begun && len(s.streams) == 0 {
			return
		}
	}
}

// A socket whose group does not exist is its owner's alone, and says why.
func TestSocketWithoutItsGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || l.Note == nil {
		t.Errorf("mode %v, %v, note %v", info.Mode(), err, l.Note)
	}
}

// The file of a socket may go, or become another's; the listener knows, and takes away only what is its own.
func TestF14SocketFileThatGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "0")
	if err != nil || l.Gone() {
		t.Fatalf("%v, gone", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !l.Gone() {
		t.Error("a removed file is not noticed")
	}
	other, err := Listen(path, "0")
	if err != nil {
		t.Fatal(err)
	}
	if !l.Gone() || other.Gone() {
		t.Error("another's file is taken for its own")
	}
	_ = l.Close()
	if other.Gone() {
		t.Error("another's file was removed")
	}
	_ = other.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("its own file stays: %v", err)
	}
}
