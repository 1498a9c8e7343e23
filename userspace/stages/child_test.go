// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/taste"
)

// tasteChild is a child that builds nothing: it answers as its second argument says.
const tasteChild = "fake-taste"

func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != tasteChild {
		os.Exit(m.Run())
	}
	var r taste.Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil || os.Args[2] == "crashes" {
		os.Exit(1)
	}
	out := taste.Result{Digest: r.Digest, Taste: rollout.Taste{ID: r.ID, Number: r.Number},
		Compiled: state.Compiled{Number: r.Number, Salt: r.Salt, Wall: r.Clock.Wall, MonotonicNS: r.Clock.MonotonicNS}}
	if os.Args[2] == "golden" {
		out.Outcome, out.Golden, out.Detail = rollout.TasteGolden, "shop", "Its SYN is blocked."
	}
	if r.HostText == "" || r.Host == nil && os.Args[2] != "passes" {
		out.Outcome = rollout.TasteFailed
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	os.Exit(0)
}

func TestChildBuildsWhatAnOrderMakes(t *testing.T) {
	for _, row := range []struct {
		child   string
		outcome rollout.TasteEnd
		golden  string
	}{
		{"passes", rollout.TastePassed, ""},
		{"golden", rollout.TasteGolden, "shop"},
		{"crashes", rollout.TasteCrashed, ""},
	} {
		t.Run(row.child, func(t *testing.T) {
			s := newSite(t, 1)
			s.k.HostFile = &compile.HostInfo{Number: 1}
			b := s.bundles[0]
			if err := s.disk.SaveBundle(b); err != nil {
				t.Fatal(err)
			}
			c := Child{Hand: s.mg.Hand(), Log: slog.New(slog.DiscardHandler), Context: context.Background,
				State: t.TempDir(), Pins: t.TempDir(),
				Options: taste.Options{Program: []string{"/proc/self/exe", tasteChild, row.child}}}
			got, busy := c.Taste(&release.Order{ID: "r-1", Kind: api.RolloutApply, Name: b.Name, Digest: b.Digest}, 2)
			if busy || got.Outcome != row.outcome || got.Golden != row.golden {
				t.Fatalf("busy %t, %+v", busy, got)
			}
			record := s.ledger.Record()
			all, err := s.k.Generations()
			if err != nil {
				t.Fatal(err)
			}
			passed := row.outcome == rollout.TastePassed
			if resident := len(all) == 1 && all[0].Number == got.Number && all[0].Digest == b.Digest; resident != passed {
				t.Errorf("resident: %+v", all)
			}
			known := len(record.Compiled) == 1 && record.Compiled[0].Salt == compile.CanarySalt(b.Digest, 2, nil)
			if known != passed || passed && record.LastNumber != got.Number {
				t.Errorf("record: %+v, last number %d", record.Compiled, record.LastNumber)
			}
		})
	}
}

func TestSaltOfACanary(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	salt := func(digest, set config.Digest, attempt int, path string) uint64 {
		s := newSite(t, 1)
		host := *s.file.Host
		host.Paths.CanarySecret = path
		file := *s.file
		file.Host = &host
		salt, err := saltOf(release.Making{Order: &release.Order{Digest: digest}, Set: set, Host: &file}, attempt)
		if err != nil {
			t.Fatal(err)
		}
		return salt
	}
	if err := os.WriteFile(secret, []byte("of the fleet"), 0o600); err != nil {
		t.Fatal(err)
	}
	one, two := config.Digest{1}, config.Digest{2}
	first := salt(one, one, 0, "")
	if salt(one, two, 0, "") != first || salt(config.Digest{}, one, 0, "") != first {
		t.Error("another bundle beside it changes whom the canary takes")
	}
	seen := map[uint64]string{first: "first"}
	for name, s := range map[string]uint64{"another bundle": salt(two, one, 0, ""),
		"another attempt": salt(one, one, 1, ""),
		"a secret":        salt(one, one, 0, secret)} {
		if seen[s] != "" || s == 0 {
			t.Errorf("%s has the salt %x of %s", name, s, seen[s])
		}
		seen[s] = name
	}
	if err := os.WriteFile(secret, []byte(strings.Repeat("x", secretMost+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, 1)
	for _, path := range []string{secret, secret + "-none"} {
		s.file.Host.Paths.CanarySecret = path
		if _, err := saltOf(release.Making{Order: &release.Order{}, Host: s.file}, 0); err == nil {
			t.Errorf("%s is taken", fmt.Sprint(path))
		}
	}
}

// A file that holds nothing, that everybody can read, or that is none, is not taken for a secret; white space around
// one is none of it.
func TestSecretOfTheCanary(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secretOf(pipe); err == nil {
		t.Errorf("a pipe: %q", got)
	}
	file := filepath.Join(dir, "secret")
	for content, want := range map[string]string{"": "", " \n": "", "of the fleet\n": "of the fleet"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secretOf(file)
		if string(got) != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "fleet\n") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: false, 0o604: false, 0o602: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("of the fleet"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secretOf(file); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "chmod o=") {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
}
