// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Group owns the socket when it exists: its members may use the command line without being root.
const Group = "spillway"

// Listen makes the socket, mode 0660, in a folder of mode 0755. A socket that a killed agent left is replaced; one
// behind which somebody listens is not.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("listen on %s: something that is no socket has this name", path)
		}
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("listen on %s: another process listens there: %w", path, syscall.EADDRINUSE)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	// Until the mode is set only the owner may connect: to connect needs write permission, which the umask keeps from
	// everyone else. A umask of 0 would leave a moment for others; changes are checked against the peer besides.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if gid, err := groupID(Group); err == nil {
		if err := os.Chown(path, -1, gid); err != nil {
			return nil, errors.Join(fmt.Errorf("give socket to group %s: %w", Group, err), l.Close())
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("set mode of socket: %w", err), l.Close())
	}
	return l, nil
}

// socketGroup returns the group of the socket's file.
func socketGroup(path string) (uint32, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("look at socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("look at socket %s: no owner", path)
	}
	return st.Gid, nil
}
