// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
)

func TestEveryCall(t *testing.T) {
	b := &backend{direct: true}
	c, _, path := serve(t, b)
	ctx := context.Background()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("folder of socket: %v, %v", info.Mode(), err)
	}
	for _, row := range []struct {
		want string
		call func() (*Change, error)
	}{
		{"confirm 7 looks good", func() (*Change, error) { return c.Confirm(ctx, "looks good") }},
		{"rollback ", func() (*Change, error) { return c.Rollback(ctx, "") }},
		{"reload {Reason:new mode Ask:true Emergency:false}", func() (*Change, error) {
			return c.Reload(ctx, ReloadRequest{Reason: "new mode", Ask: true})
		}},
		{"bypass {On:true Service:web ForSeconds:60 Reason:r}", func() (*Change, error) {
			return c.Bypass(ctx, BypassRequest{On: true, Service: "web", ForSeconds: 60, Reason: "r"})
		}},
		{"ban {Prefix:192.0.2.7 ForSeconds:1.5 Reason:}",
			func() (*Change, error) { return c.Ban(ctx, BanRequest{Prefix: "192.0.2.7", ForSeconds: 1.5}) }},
		{"end 7 mistake", func() (*Change, error) { return c.EndRollout(ctx, "7", "mistake") }},
		{"unban 203.0.113.7 ", func() (*Change, error) { return c.Unban(ctx, "203.0.113.7", "") }},
		{"unban 2001:db8::/64 a&b", func() (*Change, error) { return c.Unban(ctx, "2001:db8::/64", "a&b") }},
	} {
		got, err := row.call()
		if err != nil || got.Message != row.want || got.SchemaVersion != SchemaVersion {
			t.Errorf("got %+v, %v; want %q", got, err, row.want)
		}
		if b.by.UID != uint32(os.Getuid()) || b.by.PID != int32(os.Getpid()) {
			t.Errorf("%s: by %+v", row.want, b.by)
		}
	}
	if s, err := c.Status(ctx); err != nil || s.Mode != "observe" {
		t.Errorf("status: %+v, %v", s, err)
	}
	if g, err := c.Generations(ctx); err != nil || g.Generations[0].Digest != (config.Digest{1}) {
		t.Errorf("generations: %+v, %v", g, err)
	}
	if l, err := c.Bundles(ctx); err != nil || l.Bundles[0].Name != "edge" {
		t.Errorf("bundles: %+v, %v", l, err)
	}
	if l, err := c.Rollouts(ctx); err != nil || l.Waiting().ID != "7" {
		t.Errorf("rollouts: %+v, %v", l, err)
	}
	if r, err := c.Rollout(ctx, "6"); err != nil || r.State != RolloutDone || !r.Over() {
		t.Errorf("rollout: %+v, %v", r, err)
	}
	if r, err := c.Remove(ctx, RolloutRequest{Remove: "feed", Reason: "stale"}); err != nil || r.ID != "8" ||
		b.call != "apply feed" || b.files != nil {
		t.Errorf("remove: %+v, %v, %s", r, err, b.call)
	}
	if r, err := c.Rules(ctx); err != nil || r.Generation != 3 {
		t.Errorf("rules: %+v, %v", r, err)
	}
	if v, err := c.Verify(ctx); err != nil || !v.OK {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if h, err := c.History(ctx, 7); err != nil || h.Skipped != 7 {
		t.Errorf("history: %+v, %v", h, err)
	}
	if l, err := c.Bans(ctx); err != nil || l.Capacity != 9 {
		t.Errorf("bans: %+v, %v", l, err)
	}
}

func TestNobodyListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrUnreachable) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a stale socket: %v", err)
	}
	again, err := Listen(path, "0")
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	if _, err := Listen(path, "0"); err == nil {
		t.Error("a socket that somebody listens on is replaced")
	}
	_ = again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, "0"); err == nil {
		t.Error("a file that is no socket is replaced")
	}
}

func TestRefusals(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	ctx := context.Background()
	_, faults := config.ParseHost("spillway.yaml", []byte("version: 1\ninterfaces: []\nports: 3\n"))
	for _, row := range []struct {
		err    error
		status int
		code   string
	}{
		{Refuse("refused", faults), 422, CodeRefused},
		{&Error{Code: CodeHeld, Holds: []Hold{{"growth", "list feed grows"}}}, 409, CodeHeld},
		{&Error{Code: CodeBusy}, 409, CodeBusy},
		{&Error{Code: CodeUnavailable, Message: "m", Fix: "f"}, 503, CodeUnavailable},
		{&Error{Code: CodeLimit}, 409, CodeLimit},
		{&Error{Code: CodeProtected}, 422, CodeProtected},
		{fmt.Errorf("wrapped: %w", &Error{Code: CodeNoPrevious}), 409, CodeNoPrevious},
		{errors.New("disk on fire"), 500, CodeInternal},
	} {
		b.err = row.err
		_, err := c.Rollback(ctx, "")
		var got *Error
		if !errors.As(err, &got) || got.Status != row.status || got.Code != row.code {
			t.Errorf("%v: got %#v", row.err, err)
		}
	}
	b.err = Refuse("the host file is refused", faults)
	_, err := c.Reload(ctx, ReloadRequest{})
	var want, got *yaml.Faults
	if !errors.As(faults, &want) || !errors.As(err, &got) || got.Error() != want.Error() {
		t.Errorf("faults print otherwise after the journey:\n%v\nwant\n%v", got, want)
	}
	b.err = &Error{Code: CodeHeld, Message: "held", Fix: "look", Holds: []Hold{{"growth", "list feed grows"}}}
	if _, err = c.Rollback(ctx, ""); err.Error() != "held\n  list feed grows\nlook" {
		t.Errorf("a hold prints as %q", err)
	}
}

func TestRawRequests(t *testing.T) {
	b := &backend{direct: true}
	c, _, _ := serve(t, b)
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/nothing", "", 404},
		{"POST", "/v1/status", "", 404},
		{"POST", "/v1/bypass", "", 400},
		{"POST", "/v1/bypass", `{"on":true,"scope":"a later release knows it"}`, 200},
		{"POST", "/v1/bans", `{"prefix":"192.0.2.7","scope":"x"}`, 400},
		{"POST", "/v1/bypass", `{"on":`, 400},
		{"POST", "/v1/rollback", "", 200},
		{"POST", "/v1/rollback", `{"why":"x"}`, 400},
		{"GET", "/v1/history?limit=-1", "", 400},
		{"GET", "/v1/history?limit=x", "", 400},
		{"POST", "/v1/bypass", `{"on":true}{"on":false}`, 400},
		{"POST", "/v1/bypass?reason=x", `{"on":true}`, 400},
		{"POST", "/v1/rollback", "{\"reason\":\"" + strings.Repeat("x", maxJSONBytes) + "\"}", 413},
		{"GET", "/v1/bundles/edge", "", 200},
		{"GET", "/v1/bundles/none", "", 404},
		{"DELETE", "/v1/bundles/none", "", 404},
		{"DELETE", "/v1/bundles/edge", `{"reason":"r"}`, 200},
		{"DELETE", "/v1/bundles/edge", `{"remove":"other"}`, 400},
		{"GET", "/v1/rollouts/6", "", 200},
		{"GET", "/v1/rollouts/60", "", 404},
		{"POST", "/v1/rollouts/7/confirm", "", 200},
		{"DELETE", "/v1/rollouts/7", `{"reason":"r"}`, 200},
		{"POST", "/v1/rollouts", `{"remove":"feed","reason":"r"}`, 200},
		{"POST", "/v1/rollouts", `{"reason":"neither a bundle nor a removal"}`, 400},
		{"POST", "/v1/rollouts", `{"remove":"feed","confirmSeconds":0.5}`, 400},
		{"POST", "/v1/rollouts", `{"remove":"feed","confirmSeconds":1e9}`, 400},
		{"POST", "/v1/rollouts", `{"remove":"feed","confirmSeconds":1e300}`, 400},
		{"POST", "/v1/rollouts", `{"remove":"feed","confirmSeconds":-1}`, 400},
		{"POST", "/v1/rollouts", "not a tar", 400},
		{"POST", "/v1/rollouts?reason=x", `{"remove":"feed"}`, 400},
		{"POST", "/v1/plan", `{"remove":"feed"}`, 200},
		{"GET", "/v1/connections", "", 404},
		{"GET", "/v1/lists/feed", "", 404},
		{"POST", "/v1/apply", "", 404},
		{"POST", "/v1/confirm", "", 404},
	} {
		req, err := http.NewRequest(row.method, "http://spillway"+row.path, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var reply struct {
			SchemaVersion int
			Error         *Error
		}
		err = json.NewDecoder(resp.Body).Decode(&reply)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != row.status || reply.SchemaVersion != SchemaVersion ||
			(row.status >= 400) != (reply.Error != nil) {
			t.Errorf("%s %s %q: status %d, %+v, %v", row.method, row.path, row.body, resp.StatusCode, reply, err)
		}
	}
}

// Only root and the socket's group may change, even where others can connect.
func TestOnlyRootAndGroupMayChange(t *testing.T) {
	group := uint32(990)
	for _, row := range []struct {
		by   Caller
		want bool
	}{
		{Caller{UID: 0, GID: 0}, true},
		{Caller{UID: 1000, GID: 990}, true},
		{Caller{UID: 1000, GID: 1000, groups: []uint32{4, 990}}, true},
		{Caller{UID: 1000, GID: 1000, groups: []uint32{4}}, false},
		{callerFrom(context.Background()), false},
	} {
		if got := row.by.mayChange(group); got != row.want {
			t.Errorf("%+v: %v", row.by, got)
		}
	}
	b := &backend{}
	_, s, _ := serve(t, b)
	for _, by := range []Caller{{UID: 1000, GID: 1000, User: "ann"}, {UID: 0}} {
		r, err := http.NewRequestWithContext(context.WithValue(context.Background(), callerKey{}, by),
			"POST", "/v1/rollback", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = http.NoBody
		w := &recorder{header: http.Header{}}
		s.group = func() (uint32, error) { return group, nil }
		s.http.Handler.ServeHTTP(w, r)
		if want := map[uint32]int{0: 200, 1000: 403}[by.UID]; w.status != want {
			t.Errorf("uid %d: status %d, want %d", by.UID, w.status, want)
		}
	}
	if diff := cmp.Diff([]string{"rollback"}, b.forbidden); diff != "" {
		t.Errorf("what was told as forbidden: -want +got\n%s", diff)
	}
}

type recorder struct {
	header http.Header
	status int
	bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func TestEvents(t *testing.T) {
	b := &backend{past: []Event{{Sequence: 1}, {Sequence: 2}, {Sequence: 3}}, next: make(chan Event, 1)}
	c, s, _ := serve(t, b)
	var got []uint64
	collect := func(e Event) error { got = append(got, e.Sequence); return nil }
	if err := c.Events(context.Background(), 2, false, collect); err != nil {
		t.Fatal(err)
	}
	b.next <- Event{Sequence: 4}
	enough := errors.New("enough")
	err := c.Events(context.Background(), 0, true, func(e Event) error { got = append(got, e.Sequence); return enough })
	if !errors.Is(err, enough) {
		t.Errorf("the reader's own error: %v", err)
	}
	if diff := cmp.Diff([]uint64{2, 3, 4}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// A stream must not keep the server from stopping.
	ended := make(chan error, 1)
	started := make(chan bool, 1)
	go func() {
		ended <- c.Events(context.Background(), 1, true, func(Event) error { started <- true; return nil })
	}()
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown with a stream: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}
