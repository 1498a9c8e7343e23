// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/userspace/offline"
)

var update = flag.Bool("update", false, "write the golden files again")

// mainEnv makes this test binary the command itself, so that a test can have it as a process of its own.
const mainEnv = "SPILLWAY_TEST_MAIN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		os.Exit(hold(dir))
	}
	if os.Getenv(mainEnv) != "" {
		os.Exit(run(context.Background(), systemEnv(), os.Args[1:]))
	}
	time.Local = time.UTC
	os.Exit(m.Run())
}

// now is the moment of every golden file.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// shell runs command lines against a host file of its own.
type shell struct {
	t              *testing.T
	env            env
	out, err       *bytes.Buffer
	vars           map[string]string
	dir, hostFile  string
	socket         string
	stdout, stderr string // of the last command line
	ctx            context.Context
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{t: t, out: &bytes.Buffer{}, err: &bytes.Buffer{}, vars: map[string]string{}, ctx: context.Background()}
	// The path of a socket has at most 107 bytes; test names would be too long.
	dir, err := os.MkdirTemp("", "spillway")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.dir, s.socket, s.hostFile = dir, filepath.Join(dir, "sock"), filepath.Join(dir, "host.yaml")
	s.write("host.yaml", strings.NewReplacer("DIR", dir).Replace(`version: 1
interfaces: [{name: lo}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: shop, port: 8443, kind: tls}
listen: {socket: DIR/sock, metrics: ""}
paths: {state: DIR/state, pins: DIR/pins}
`))
	s.vars[configEnv] = s.hostFile
	s.env = env{stdin: strings.NewReader(""), stdout: s.out, stderr: s.err, now: func() time.Time { return now },
		getenv: func(k string) string { return s.vars[k] }, proc: fstest.MapFS{}, pins: offline.Open,
		cards: func() (*offline.Cards, error) { return &offline.Cards{}, nil }}
	return s
}

func (s *shell) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// run runs one command line and keeps what it printed, with the folder's name taken out.
func (s *shell) run(args ...string) int {
	s.t.Helper()
	s.out.Reset()
	s.err.Reset()
	code := run(s.ctx, s.env, args)
	hide := strings.NewReplacer(s.dir, "DIR")
	s.stdout, s.stderr = hide.Replace(s.out.String()), hide.Replace(s.err.String())
	return code
}

// want runs one command line and compares its exit code.
func (s *shell) want(code int, args ...string) {
	s.t.Helper()
	if got := s.run(args...); got != code {
		s.t.Errorf("spillway %s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), got,
			code, s.stdout, s.stderr)
	}
}

func (s *shell) wantErr(text string) {
	s.t.Helper()
	if !strings.Contains(s.stderr, text) {
		s.t.Errorf("stderr lacks %q:\n%s", text, s.stderr)
	}
}

func (s *shell) wantOut(text string) {
	s.t.Helper()
	if !strings.Contains(s.stdout, text) {
		s.t.Errorf("stdout lacks %q:\n%s", text, s.stdout)
	}
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/spillway -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	for i, line := range strings.Split(got, "\n") {
		if n := len([]rune(line)); n > 80 && strings.HasPrefix(name, "status") {
			t.Errorf("%s:%d has %d columns", name, i+1, n)
		}
	}
}
