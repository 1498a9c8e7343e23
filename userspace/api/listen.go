// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spillway/spillway/userspace/folder"
)

// Socket is a listener whose file may be taken away from under it: Gone says so, and somebody makes a new one.
type Socket struct {
	net.Listener
	path string
	file os.FileInfo
	// Note says why the socket is its owner's alone; nil when its group has it.
	Note error
}

// Listen makes the socket, mode 0660, in a folder of mode 0755, for the group of that name or number. Where the group
// cannot be had the socket is its owner's alone, mode 0600. A socket that a killed agent left is replaced; one behind
// which somebody listens is not.
func Listen(path, group string) (*Socket, error) {
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
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // by then the name may be another's
	s := &Socket{Listener: l, path: path, Note: giveTo(path, group)}
	mode := os.FileMode(0o660)
	if s.Note != nil {
		mode = 0o600
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("set mode of socket: %w", err), l.Close())
	}
	if s.file, err = os.Lstat(path); err != nil {
		return nil, errors.Join(fmt.Errorf("look at socket: %w", err), l.Close())
	}
	return s, nil
}

// Gone reports whether the socket's file is no longer this socket's: nobody can connect any more.
func (s *Socket) Gone() bool {
	now, err := os.Lstat(s.path)
	return err != nil || !os.SameFile(s.file, now) || !s.file.ModTime().Equal(now.ModTime()) // inode numbers come again
}

// Close implements net.Listener. It removes the socket's file, if it still is this socket's.
func (s *Socket) Close() error {
	if !s.Gone() {
		_ = os.Remove(s.path)
	}
	return s.Listener.Close()
}

// giveTo gives the socket's file to a group, and where root made it to the owner of its folder: the agent's user.
func giveTo(path, group string) error {
	if owner, err := folder.Owner(filepath.Dir(path)); err == nil && os.Geteuid() == 0 && owner != 0 {
		if err := os.Lchown(path, owner, -1); err != nil {
			return fmt.Errorf("give socket to user %d: %w", owner, err)
		}
	}
	gid, err := groupID(group)
	if err != nil {
		return err
	}
	if err := os.Lchown(path, -1, gid); err != nil {
		return fmt.Errorf("give socket to group %s: %w", group, err)
	}
	return nil
}

// groupID finds the group that may talk to the agent beside root.
func groupID(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("look up group %s: %w", name, err)
	}
	return strconv.Atoi(g.Gid)
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
