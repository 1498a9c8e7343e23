// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
)

// root holds one folder per demo. Only its owner can write there.
const root = "/run/spillway-demo"

const ownerFile = "owner"

// unbornPrefix begins the name of a folder whose owner has not locked it yet.
const unbornPrefix = "."

// workspace is the folder of one demo: host file, bundles, state, socket, and a BPF file system of its own. So the
// demo needs no /sys/fs/bpf, and cannot meet the pins of a Spillway that protects this machine. The owner holds a lock
// on the owner file; the kernel drops it however the owner dies.
type workspace struct {
	dir  string
	lock *os.File
	// staged leaves guards.rollout at its default: changes go in stages. Else they are in force at once.
	staged bool
}

// newWorkspace makes the folder and mounts its BPF file system. On an error nothing is left.
func newWorkspace() (_ *workspace, err error) {
	var suffix [4]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return nil, fmt.Errorf("choose demo id: %w", err)
	}
	// It appears under its name only when the lock is held, so that sweep cannot take a newborn for a dead one.
	id := fmt.Sprintf("%d-%s", os.Getpid(), hex.EncodeToString(suffix[:]))
	unborn := filepath.Join(root, unbornPrefix+id)
	if err := makeFolder(unborn); err != nil {
		return nil, fmt.Errorf("make work folder: %w", err)
	}
	w := &workspace{dir: unborn}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make work folder: %w", err), w.Close())
		}
	}()
	if w.lock, err = lockOwner(unborn, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, err
	}
	if err := os.Rename(unborn, filepath.Join(root, id)); err != nil {
		return nil, err
	}
	w.dir = filepath.Join(root, id)
	if err := w.giveFolders(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.bpffs(), 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("spillway-demo", w.bpffs(), "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC,
		"mode=0711"); err != nil {
		return nil, fmt.Errorf("mount a BPF file system on %s: %w", w.bpffs(), err)
	}
	return w, nil
}

// agentID is the user and group of the demo's agent, which no file of the machine need name.
const agentID = rights.Nobody

// giveFolders lets the agent's user pass through the folder, and makes what the unit makes for it.
func (w *workspace) giveFolders() error {
	if err := os.Chmod(w.dir, 0o711); err != nil {
		return err
	}
	for _, folder := range []string{w.state(), filepath.Dir(w.socket())} {
		if err := errors.Join(os.Mkdir(folder, 0o755), os.Chown(folder, agentID, agentID)); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder in root, and root itself, which another demo may be removing at this moment.
func makeFolder(dir string) error {
	var err error
	for range 5 {
		if err = os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if err = os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// lockOwner opens the owner file in dir and locks it: unix.EWOULDBLOCK while another holds the lock.
func lockOwner(dir string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }
func (w *workspace) bpffs() string           { return w.path("bpf") }
func (w *workspace) pins() string            { return filepath.Join(w.bpffs(), "spillway") }
func (w *workspace) state() string           { return w.path("state") }
func (w *workspace) socket() string          { return w.path("run/spillway.sock") }

// writeHost writes the host file with this max_mode, as a person would edit it.
func (w *workspace) writeHost(mode config.Mode, iface string) error {
	err := render(w.path(hostFile), hostFile, host{
		Mode: mode, Interface: iface, Capacity: capacity,
		Staged: w.staged, Socket: w.socket(), State: w.state(), Pins: w.pins(),
	})
	return errors.Join(err, os.Chmod(w.path(hostFile), 0o644)) // the agent reads it, too
}

// Close takes what is pinned out of the kernel, and removes the file system, the folder and the lock. The agent must
// have ended. It may be called again.
func (w *workspace) Close() error {
	err := removeWorkspace(w.dir)
	if err == nil && w.lock != nil {
		err = ignore(w.lock.Close(), os.ErrClosed)
		_ = os.Remove(root) // only when no other demo is there
	}
	return err
}

// removeWorkspace removes the folder of a demo, its mount and its pins, whatever of them there is.
func removeWorkspace(dir string) error {
	bpffs := filepath.Join(dir, "bpf")
	if isBPFFS(bpffs) {
		if err := loader.DetachPins(filepath.Join(bpffs, "spillway")); err != nil {
			return err
		}
		if err := unix.Unmount(bpffs, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", bpffs, err)
		}
	}
	return removeFolder(dir)
}

// removeFolder tries for five seconds: a browser that is ending writes into its profile meanwhile.
func removeFolder(dir string) error {
	for tries := 1; ; tries++ {
		err := os.RemoveAll(dir)
		if !errors.Is(err, unix.ENOTEMPTY) || tries == 100 {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func isBPFFS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.BPF_FS_MAGIC
}

// sweep removes what demos of dead owners left. Those whose owner lives are not touched.
func sweep() error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	var errs []error
	for _, e := range entries {
		if err := sweepOne(e.Name()); err != nil {
			errs = append(errs, fmt.Errorf("remove what an earlier demo left in %s: %w", filepath.Join(root, e.Name()), err))
		}
	}
	return errors.Join(errs...)
}

func sweepOne(name string) error {
	dir := filepath.Join(root, name)
	if id, unborn := strings.CutPrefix(name, unbornPrefix); unborn {
		if pidAlive(id) {
			return nil
		}
		return removeWorkspace(dir)
	}
	lock, err := lockOwner(dir, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) && !pidAlive(name) {
		return removeWorkspace(dir) // what another sweep could not remove, if it is not gone meanwhile
	}
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil // its owner lives, or another sweeps
	}
	if err != nil {
		return err
	}
	return errors.Join(removeWorkspace(dir), lock.Close())
}

// pidAlive asks by the process id with which a folder's name begins.
func pidAlive(name string) bool {
	var pid int
	if _, err := fmt.Sscanf(name, "%d-", &pid); err != nil || pid <= 0 {
		return false
	}
	return !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// ignore returns nil for the one error that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
