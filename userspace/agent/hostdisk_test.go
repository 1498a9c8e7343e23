// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// hostText is the host file of the rig with one allowlist line of its own.
func (r *rig) hostText(n int) string {
	yaml := strings.Replace(hostYAML, "note: office}]",
		fmt.Sprintf("note: office}, {prefix: 198.18.%d.%d/32, note: n%d}]", n>>8, n&255, n), 1)
	return yaml + fmt.Sprintf("listen: {socket: %s/spillway.sock, metrics: \"\"}\npaths: {state: %s/state, pins: %s}\n",
		r.dir, r.dir, r.pins)
}

// F6: of many reloads at once, whoever wins the locks in whatever order, the file that was written last is in force.
func TestF6TheLastFileWins(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	var writing sync.Mutex
	last := 0
	write := func() {
		writing.Lock()
		defer writing.Unlock()
		last++
		next := filepath.Join(r.dir, "next")
		if err := errors.Join(os.WriteFile(next, []byte(r.hostText(last)), 0o600),
			os.Rename(next, r.hostPath())); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				write()
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
				for {
					_, err := r.Reload(ctx, root, api.ReloadRequest{})
					var e *api.Error
					if errors.As(err, &e) && e.Code == api.CodeBusy {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		wg.Wait()
		want := fmt.Sprintf("n%d", last)
		list := r.agent.host.Host().Allowlist
		if got := list[len(list)-1].Note; got != want {
			t.Fatalf("in force is %s, and %s was written last", got, want)
		}
		if got := r.state().HostDigest; got != hostfile.Digest([]byte(r.hostText(last))) {
			t.Fatalf("the kernel has the file with digest %s, and %s was written last", got, want)
		}
		if s, _ := r.Status(ctx); hasProblem(s, hostfile.CodeNotInForce) {
			t.Fatalf("problems %v", s.Problems)
		}
	}
}

// F6: an apply that waited for a reload is judged by the host file of after it.
func TestF6ApplyAfterAReload(t *testing.T) {
	r := newRig(t)
	r.release.Change().Lock()
	d, done, err := r.use()
	if err != nil {
		t.Fatal(err)
	}
	applied := make(chan error)
	go func() {
		_, err := r.agent.Apply(ctx, root, "bundle.yaml", bundleYAML("one", "198.18.0.1/32"), api.ApplyOptions{})
		applied <- err
	}()
	eventually(t, "it has read the host file of before, and waits", func() error {
		if all, err := r.release.Rollouts(ctx); err != nil || len(all.Rollouts) == 0 ||
			all.Rollouts[0].State != api.RolloutBuilding {
			return errors.New("not yet")
		}
		return nil
	})
	file, err := hostfile.Parse("host", []byte(r.hostText(1)))
	if err != nil {
		t.Fatal(err)
	}
	r.fake.next = file.Host
	if _, err := r.release.PublishHost(d, file, view.ModeOf(config.ModeEnforce)); err != nil {
		t.Fatal(err)
	}
	r.agent.host.Put(file)
	done()
	r.release.Change().Unlock()
	wantCode(t, <-applied, api.CodeRefused) // it would block what the file of now protects
	r.wantRoles("", "", "")
}

// F6: a host file that was edited and not reloaded shows, and so does a faulty one, or none.
func TestF6AFileThatIsNotInForceShows(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	want := func(what, text string) {
		t.Helper()
		s, err := r.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Problems {
			if p.Code == hostfile.CodeNotInForce {
				if text == "" || !strings.Contains(p.Message, text) {
					t.Errorf("%s: %+v, want %q", what, p, text)
				}
				return
			}
		}
		if text != "" {
			t.Errorf("%s: nobody says %q: %v", what, text, s.Problems)
		}
	}
	want("at the start", "")
	sound, err := os.ReadFile(r.hostPath())
	if err != nil {
		t.Fatal(err)
	}
	r.writeHost(strings.Replace(hostYAML, "office", "home", 1))
	want("edited", "was changed and not reloaded")
	r.tick(false)
	r.writeHost(hostYAML + "max_mod: 1\n")
	want("faulty", "is refused")
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err == nil {
		t.Error("a faulty file was loaded")
	}
	want("refused", "is refused")
	if err := os.Remove(r.hostPath()); err != nil {
		t.Fatal(err)
	}
	want("removed", "is gone")
	if err := os.WriteFile(r.hostPath(), sound, 0o600); err != nil {
		t.Fatal(err)
	}
	want("put back", "")
	r.writeHost(strings.Replace(hostYAML, "office", "home", 1))
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	want("reloaded", "")
}

// F12: what came into force is kept, whichever way, and nothing else is.
func TestF12TheGoodHostFileIsKept(t *testing.T) {
	r := newRig(t)
	kept := func() string {
		t.Helper()
		h, err := state.ReadHost(filepath.Join(r.dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		return h.Text
	}
	onDisk := func() string {
		t.Helper()
		text, err := os.ReadFile(r.hostPath())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := onDisk()
	if kept() != first {
		t.Error("the first one is not kept")
	}
	r.writeHost(hostYAML + "max_mod: 1\n")
	_, _ = r.Reload(ctx, root, api.ReloadRequest{})
	if kept() != first {
		t.Error("a faulty one was kept")
	}
	r.writeHost(strings.Replace(hostYAML, "office", "home", 1))
	r.machine.fail["Publish"] = unix.ENOMEM
	_, _ = r.Reload(ctx, root, api.ReloadRequest{})
	delete(r.machine.fail, "Publish")
	if kept() != first {
		t.Error("one that never came into force was kept")
	}
	r.fault = func(string, string) error { return unix.ENOSPC }
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	if s, _ := r.Status(ctx); !hasProblem(s, ledger.ProblemKept) {
		t.Errorf("nobody says that it is not kept: %v", s.Problems)
	}
	r.fault = nil
	r.pass(time.Minute)
	if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemKept) || kept() != onDisk() {
		t.Errorf("it is not kept once the disk takes it: %v", s.Problems)
	}
}
