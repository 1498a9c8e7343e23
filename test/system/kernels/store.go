// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// store keeps Debian packages unpacked, each in a folder that carries its name. apt checks who signed them.
type store struct{ folder string }

// openStore makes the store outside the source tree, so that a fresh clone need not download again.
func openStore() (store, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no HOME: some CI has none
	}
	s := store{filepath.Join(cache, "spillway", "kernels")}
	return s, os.MkdirAll(s.folder, 0o755)
}

// have returns the names of what was unpacked before.
func (s store) have() (names []string) {
	entries, _ := os.ReadDir(s.folder)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// get returns the folder of a package's content, downloading it only when it is not there.
func (s store) get(ctx context.Context, name string) (string, error) {
	folder := filepath.Join(s.folder, name)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	work, err := os.MkdirTemp(s.folder, ".unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	download := exec.CommandContext(ctx, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name)
	download.Dir = work
	if out, err := download.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("download %s: %d packages came", name, len(debs))
	}
	content := filepath.Join(work, "content")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], content).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	if err := os.Rename(content, folder); err != nil {
		return "", err
	}
	return folder, nil
}

// update asks Debian anew what it serves; only root may.
func update(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "apt-get", "-qq", "update").CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get update: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
