// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// littleMemory is a cgroup that allows so much, of version 1 or 2; the test says when none is to be had.
func littleMemory(t *testing.T, limit int) (procs string) {
	t.Helper()
	name := fmt.Sprintf("spillway-test-%d", os.Getpid())
	var why error
	for _, try := range []struct{ folder, file string }{
		{filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"},
		{filepath.Join("/sys/fs/cgroup", name), "memory.max"},
	} {
		err := os.Mkdir(try.folder, 0o700)
		if err == nil {
			t.Cleanup(func() { _ = os.Remove(try.folder) })
			err = os.WriteFile(filepath.Join(try.folder, try.file), fmt.Append(nil, limit), 0o600)
		}
		if err == nil {
			return filepath.Join(try.folder, "cgroup.procs")
		}
		why = errors.Join(why, err)
	}
	t.Skipf("left out: no cgroup limits memory here: %v", why)
	return ""
}

// large is a bundle of many prefixes.
func large(t *testing.T, rows int) string {
	t.Helper()
	files := bundleYAML("large")
	list := bytes.NewBuffer(nil)
	for i := range rows {
		k := uint32(i) * 2_654_435_761 & (1<<22 - 1)
		fmt.Fprintln(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{32 + byte(k>>16), byte(k >> 8), byte(k), 0}), 24))
	}
	files["own.netset"] = list.Bytes()
	dir := t.TempDir()
	for file, data := range files {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// F11: an agent with little memory beside a large generation was killed 33 times in 70 s, because each start read the
// whole bundle for the names of its rules and compiled it again to compare rows. Of what this version applied both take
// little memory. What an older version applied kills it once for each at most; then it does without.
func TestKernelF11LittleMemory(t *testing.T) {
	const rows = 400_000
	s := newSite(t)
	s.editHost("prefixes_v4: 1000,", fmt.Sprintf("prefixes_v4: %d,", rows))
	s.start()
	u, err := api.Pack(large(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	c, err := s.client.Apply(ctx, u, api.ApplyOptions{Accept: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	procs := littleMemory(t, littleBytes)

	t.Run("applied by this version", func(t *testing.T) {
		compared := func(time.Duration) bool {
			st, err := s.client.Status(ctx)
			return err == nil && st.Drift != nil
		}
		if kills := s.restarts(procs, compared); kills > 0 {
			t.Errorf("killed %d times", kills)
		}
		st, err := s.client.Status(ctx)
		if err != nil || !st.Protected || len(st.Problems) > 0 || st.Drift == nil || st.Generations[0].Name != "large" {
			t.Errorf("%+v, %v", st, err)
		}
		rules, err := s.client.Rules(ctx)
		if err != nil || rules.Rules[0].ID != "bad" {
			t.Errorf("rules %+v, %v", rules, err)
		}
		s.kill()
	})
	t.Run("applied by an older version", func(t *testing.T) {
		store, err := state.Open(s.host.Paths.State, state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Compiled {
			r.Compiled[i].Sums = nil
		}
		names := filepath.Join(s.host.Paths.State, "bundles", strings.TrimPrefix(c.Digest.String(), "sha256:")+".names")
		if err := errors.Join(store.Save(r), os.Remove(names), store.Close()); err != nil {
			t.Fatal(err)
		}
		kills := s.restarts(procs, func(lives time.Duration) bool {
			return lives > 6*time.Second && s.protected(true) == nil
		})
		t.Logf("killed %d times", kills)
		if kills > 2 {
			t.Errorf("killed %d times", kills)
		}
		if st, err := s.client.Status(ctx); err != nil || !st.Protected {
			t.Errorf("%+v, %v", st, err)
		}
		s.kill()
	})
}

// littleBytes is what the agent has in that test.
const littleBytes = 56 << 20

// restarts runs the agent in a cgroup as systemd would until a process of it has enough, and returns how often it was
// killed.
func (s *site) restarts(procs string, enough func(lives time.Duration) bool) (kills int) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		s.child = asUnit(s.t, s.host, s.path, "/bin/sh", "-c", `echo $$ > "$0" && exec "$@"`, procs)
		s.child.Stdout, s.child.Stderr = s.log, s.log
		s.in(s.child.Start)
		begun, ended := time.Now(), make(chan error, 1)
		go func() { ended <- s.child.Wait() }()
		for lives := true; lives; {
			select {
			case err := <-ended:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					s.t.Fatalf("the agent ended by itself: %v", err)
				}
				kills++
				lives = false
			case <-time.After(50 * time.Millisecond):
				if enough(time.Since(begun)) {
					s.hasRights()
					return kills
				}
			}
			if time.Now().After(end) {
				s.t.Fatalf("killed %d times, and not done in a minute", kills)
			}
		}
	}
}
