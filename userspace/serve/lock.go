// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/folder"
	"github.com/spillway/spillway/userspace/state"
)

// Lock keeps a second agent away also where the state folder cannot be locked: it lies beside the socket, which needs
// no disk. The lock is a file descriptor's, so a killed agent leaves nothing stale. It returns state.ErrLocked when
// another agent runs; any other error means that nobody can be kept away.
func Lock(socket string) (*os.File, error) {
	in, err := folder.Make(filepath.Dir(socket), 0o755)
	if err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	defer in.Close()
	path := socket + api.LockSuffix
	f, err := in.OpenFile(filepath.Base(path), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = state.ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
