// SPDX-License-Identifier: Apache-2.0

package api

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

// backend remembers the last call.
type backend struct {
	by        Caller
	call      string
	files     Files
	options   ApplyOptions
	err       error
	forbidden []string
	past      []Event
	next      chan Event
}

func (b *backend) did(by Caller, format string, v ...any) (*Change, error) {
	b.by, b.call = by, fmt.Sprintf(format, v...)
	if b.err != nil {
		return nil, b.err
	}
	return &Change{Envelope: NewEnvelope(), Outcome: OutcomeDone, Message: b.call}, nil
}

func (b *backend) Status(context.Context) (*Status, error) {
	return &Status{Envelope: NewEnvelope(), Source: SourceAgent, Mode: "observe"}, b.err
}
func (b *backend) Generations(context.Context) (*GenerationList, error) {
	return &GenerationList{Envelope: NewEnvelope(), Generations: []Generation{{Slot: 1, Digest: config.Digest{1}}}}, b.err
}
func (b *backend) Rules(context.Context) (*RuleList, error) { return &RuleList{Generation: 3}, b.err }
func (b *backend) Verify(context.Context) (*Verification, error) {
	return &Verification{OK: true}, b.err
}
func (b *backend) History(_ context.Context, limit int) (*History, error) {
	return &History{Skipped: limit}, b.err
}
func (b *backend) Bans(context.Context) (*BanList, error) { return &BanList{Capacity: 9}, b.err }
func (b *backend) Plan(_ context.Context, name string, files Files) (*Plan, error) {
	b.files = files
	return &Plan{Name: name}, b.err
}
func (b *backend) Apply(_ context.Context, by Caller, name string, files Files, o ApplyOptions) (*Change, error) {
	b.files, b.options = files, o
	return b.did(by, "apply %s", name)
}
func (b *backend) Confirm(_ context.Context, by Caller, reason string) (*Change, error) {
	return b.did(by, "confirm %s", reason)
}
func (b *backend) Rollback(_ context.Context, by Caller, reason string) (*Change, error) {
	return b.did(by, "rollback %s", reason)
}
func (b *backend) Reload(_ context.Context, by Caller, reason string) (*Change, error) {
	return b.did(by, "reload %s", reason)
}
func (b *backend) Bypass(_ context.Context, by Caller, r BypassRequest) (*Change, error) {
	return b.did(by, "bypass %+v", r)
}
func (b *backend) Ban(_ context.Context, by Caller, r BanRequest) (*Change, error) {
	return b.did(by, "ban %+v", r)
}
func (b *backend) Unban(_ context.Context, by Caller, prefix, reason string) (*Change, error) {
	return b.did(by, "unban %s %s", prefix, reason)
}
func (b *backend) Events(recent int, follow bool) ([]Event, <-chan Event, func()) {
	past := b.past[max(0, len(b.past)-recent):]
	if !follow {
		return past, nil, func() {}
	}
	return past, b.next, func() {}
}
func (b *backend) Forbidden(_ Caller, verb string) { b.forbidden = append(b.forbidden, verb) }

// serve runs a server in a folder of its own and returns a client.
func serve(t *testing.T, b *backend) (*Client, *Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "spillway.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(path, b, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c, s, path
}

func TestEveryCall(t *testing.T) {
	b := &backend{}
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
		{"confirm looks good", func() (*Change, error) { return c.Confirm(ctx, "looks good") }},
		{"rollback ", func() (*Change, error) { return c.Rollback(ctx, "") }},
		{"reload new mode", func() (*Change, error) { return c.Reload(ctx, "new mode") }},
		{"bypass {On:true Service:web ForSeconds:60 Reason:r}", func() (*Change, error) {
			return c.Bypass(ctx, BypassRequest{On: true, Service: "web", ForSeconds: 60, Reason: "r"})
		}},
		{"ban {Prefix:192.0.2.7 ForSeconds:1.5 Reason:}", func() (*Change, error) { return c.Ban(ctx, BanRequest{Prefix: "192.0.2.7", ForSeconds: 1.5}) }},
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
	if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), path) {
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
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a socket that somebody listens on is replaced")
	}
	_ = again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
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
	_, err := c.Reload(ctx, "")
	var want, got *config.Faults
	if !errors.As(faults, &want) || !errors.As(err, &got) || got.Error() != want.Error() {
		t.Errorf("faults print otherwise after the journey:\n%v\nwant\n%v", got, want)
	}
	b.err = &Error{Code: CodeHeld, Message: "held", Fix: "look", Holds: []Hold{{"growth", "list feed grows"}}}
	if _, err = c.Rollback(ctx, ""); err.Error() != "held\n  list feed grows\nlook" {
		t.Errorf("a hold prints as %q", err)
	}
}

func TestRawRequests(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/nothing", "", 404},
		{"POST", "/v1/status", "", 404},
		{"POST", "/v1/bypass", "", 400},
		{"POST", "/v1/bypass", `{"on":true,"servise":"web"}`, 400},
		{"POST", "/v1/bypass", `{"on":`, 400},
		{"POST", "/v1/rollback", "", 200},
		{"POST", "/v1/rollback", `{"why":"x"}`, 400},
		{"GET", "/v1/history?limit=-1", "", 400},
		{"GET", "/v1/history?limit=x", "", 400},
		{"POST", "/v1/apply", "not a tar", 400},
		{"POST", "/v1/apply?confirm=0s", "", 400},
		{"POST", "/v1/apply?confirm=soon", "", 400},
		{"POST", "/v1/apply?confirm=1000h", "", 400},
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
		if err != nil || resp.StatusCode != row.status || reply.SchemaVersion != SchemaVersion || (row.status >= 400) != (reply.Error != nil) {
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
		r, err := http.NewRequestWithContext(context.WithValue(context.Background(), callerKey{}, by), "POST", "/v1/rollback", nil)
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

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

func TestBundleTravelsWhole(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	big := strings.Repeat("198.51.100.0/24\n", 100_000)
	yaml := "version: 1\nname: x\nfeatures:\n  prefixes:\n    - {list: a, rule: r, file: lists/a.netset}\n    - {list: b, rule: r, file: lists/a.netset}\n" +
		"    - {list: c, rule: r, file: missing}\n    - {list: d, rule: r, file: ../outside}\n    - {list: e, rule: r, file: link}\n    - {list: f, rule: r, entries: [192.0.2.1]}\n"
	write("bundle.yaml", yaml)
	write("lists/a.netset", big)
	write("lists/unused.netset", "1")
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	u, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if u.Name != filepath.Join(dir, "bundle.yaml") {
		t.Errorf("name %q", u.Name)
	}
	o := ApplyOptions{Confirm: 5 * time.Minute, Accept: "new feed & co", Reason: "ticket 7"}
	if _, err := c.Apply(context.Background(), u, o); err != nil {
		t.Fatal(err)
	}
	want := Files{"bundle.yaml": []byte(yaml), "lists/a.netset": []byte(big)}
	if diff := cmp.Diff(want, b.files); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(o, b.options); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if p, err := c.Plan(context.Background(), u); err != nil || p.Name != u.Name {
		t.Errorf("plan: %+v, %v", p, err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "../bundle.yaml": fs.ErrInvalid, "lists": fs.ErrNotExist} {
		if _, err := b.files.Open(name); !errors.Is(err, want) {
			t.Errorf("open %s: %v, want %v", name, err, want)
		}
	}
	if info, err := fs.Stat(b.files, "lists/a.netset"); err != nil || info.Size() != int64(len(big)) || !info.Mode().IsRegular() || info.Name() != "a.netset" {
		t.Errorf("stat: %+v, %v", info, err)
	}
	if _, err := Pack(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no bundle: %v", err)
	}
}

func TestUploadRefusesWhatIsNoBundle(t *testing.T) {
	archive := func(headers ...tar.Header) io.Reader {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, h.Size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &buf
	}
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}
	}
	bundle := file("bundle.yaml", 10)
	for _, row := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"nothing", archive(), "no bundle.yaml"},
		{"no bundle", archive(file("a", 1)), "no bundle.yaml"},
		{"outside", archive(bundle, file("../a", 1)), "no file inside"},
		{"absolute", archive(bundle, file("/a", 1)), "no file inside"},
		{"twice", archive(bundle, bundle), "twice"},
		{"link", archive(bundle, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc/passwd"}), "no file inside"},
		{"device", archive(bundle, tar.Header{Typeflag: tar.TypeChar, Name: "a"}), "no file inside"},
		{"large", archive(bundle, file("a", 1000)), "too large"},
		{"cut off", io.LimitReader(archive(bundle, file("a", 600)), 1600), "unexpected EOF"},
	} {
		if _, err := readUpload(row.r, 1000); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	files, err := readUpload(archive(tar.Header{Typeflag: tar.TypeDir, Name: "lists/"}, file("./bundle.yaml", 3), file("lists/a", 997)), 1000)
	if err != nil || len(files) != 2 || len(files["lists/a"]) != 997 {
		t.Errorf("as tar -c makes it: %v, %d files", err, len(files))
	}
}

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
