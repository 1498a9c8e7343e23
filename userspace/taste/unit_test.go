// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// What this program does instead of its tests.
const (
	realChild  = "real-child"  // is a child, as `spillway taste`
	deedsChild = "deeds-child" // gives up its rights and tries what it can
	agentChild = "agent-child" // is an agent that tastes

	standInChild = "stand-in" // stands for an agent that a child attacks
)

// unitID is a user and group that no file of the machine names.
const unitID = 60_018

func needKernel(t *testing.T) {
	t.Helper()
	if missing := kernel.MissingCapabilities(); len(missing) > 0 || os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test runs an agent as its unit does; missing: %v", missing)
		}
		t.Skipf("left out: running as the unit needs root, and %v", missing)
	}
}

// unitFolders are those of an agent as its unit: pins, and a folder of files.
func unitFolders(t *testing.T) (folder, files string) {
	t.Helper()
	needKernel(t)
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatalf("mount bpffs: %v", err)
		}
	}
	folder = filepath.Join("/sys/fs/bpf", fmt.Sprintf("spillway-taste-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := pins.PrepareFolder(folder, unitID, unitID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(loader.DetachPins(folder), os.RemoveAll(folder)); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	files = t.TempDir()
	for _, open := range []string{filepath.Dir(files), files} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(files, unitID, unitID); err != nil {
		t.Fatal(err)
	}
	return folder, files
}

const hostText = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}, {name: dns, port: 53, kind: udp}]
allowlist: [203.0.113.7]
`

// order is what an agent-child shall do.
type order struct {
	Pins, State string
	Host        string
	Golden      bool
}

// report is what it says of that.
type report struct {
	Result  Result
	Slot    uint8
	Taste   rollout.Taste
	Drifts  int
	Left    []string // below taste/
	Adopted time.Duration
	Peak    uint64 // of the agent
}

// beAnAgent opens a dataplane, stores a bundle, tastes it and adopts what was built.
func beAnAgent(o order) (r report, err error) {
	h, err := config.ParseHost("spillway.yaml", []byte(o.Host))
	if err != nil {
		return r, err
	}
	d, err := loader.Open(loader.Options{Pins: o.Pins, Capacity: h.Capacity})
	if err != nil {
		return r, err
	}
	defer d.Close()
	host, err := compile.HostFile(h, nil, 1)
	if err != nil {
		return r, err
	}
	slot, err := d.BuildHost(host)
	if err != nil {
		return r, err
	}
	if _, err := d.Publish(loader.Change{Host: &slot}); err != nil {
		return r, err
	}
	req, err := request(d, h, o)
	if err != nil {
		return r, err
	}
	r.Result = Start(context.Background(), req, Options{Program: []string{"/proc/self/exe", realChild}})
	adopting := time.Now()
	r.Slot, r.Taste = r.Result.Adopt(d)
	r.Adopted, r.Peak = time.Since(adopting), peak()
	if r.Slot != 0 {
		sums, err := d.SumGeneration(r.Slot)
		if err != nil {
			return r, err
		}
		r.Drifts = len(compile.Sums(r.Result.Compiled.Sums).Drift(r.Slot, sums))
	}
	entries, _ := os.ReadDir(root(o.Pins))
	for _, e := range entries {
		r.Left = append(r.Left, e.Name())
	}
	return r, nil
}

func request(d *loader.Dataplane, h *config.Host, o order) (req Request, err error) {
	current, err := d.Host()
	if err != nil {
		return req, err
	}
	req = Request{ID: "r-1", Number: 7, Base: 6, State: o.State, Pins: o.Pins, HostText: o.Host, Host: current,
		Clock: loader.Now(), Capacity: h.Capacity, Golden: o.Golden}
	digest, err := os.ReadFile(filepath.Join(o.State, "digest"))
	if err == nil {
		err = req.Digest.UnmarshalText(digest)
	}
	return req, err
}

// save stores a bundle with so many prefixes in a state folder.
func save(t *testing.T, files, host, text string, rows int) {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	for i := range rows {
		k := uint32(i) * 2_654_435_761 & (1<<22 - 1)
		fmt.Fprintln(&list, netip.PrefixFrom(netip.AddrFrom4([4]byte{32 + byte(k>>16), byte(k >> 8), byte(k), 0}), 24))
	}
	path := filepath.Join(dir, "bundle.yaml")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "own.netset"), []byte(list.String()), 0o600)); err != nil {
		t.Fatal(err)
	}
	h, err := config.ParseHost("spillway.yaml", []byte(host))
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.LoadBundle(path, h, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(files, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.SaveBundle(b), store.Close(),
		os.WriteFile(filepath.Join(files, "digest"), []byte(b.Digest.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	_ = filepath.WalkDir(files, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, unitID, unitID) })
}

func tasteAsUnit(t *testing.T, o order) (r report) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asked(t, agentChild, string(text)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}
