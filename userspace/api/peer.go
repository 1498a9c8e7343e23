// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Caller is who asks, as the kernel knows it from the socket.
type Caller struct {
	UID  uint32
	GID  uint32
	PID  int32
	User string // the login name, or the number when it has none
	// groups beside GID.
	groups []uint32
}

type callerKey struct{}

// callerOf reads the peer credentials of a connection. A connection whose peer is unknown may change nothing.
func callerOf(conn net.Conn) Caller {
	nobody := Caller{UID: ^uint32(0), GID: ^uint32(0), User: "unknown"}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nobody
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nobody
	}
	caller := nobody
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		caller = Caller{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, groups: peerGroups(int(fd))}
	})
	if caller.User == "" {
		caller.User = UserName(caller.UID)
	}
	return caller
}

// peerGroups returns the supplementary groups of the peer (SO_PEERGROUPS, Linux 4.13).
func peerGroups(fd int) []uint32 {
	data, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS)
	if err != nil {
		return nil
	}
	var out []uint32
	for i := 0; i+4 <= len(data); i += 4 {
		out = append(out, uint32(data[i])|uint32(data[i+1])<<8|uint32(data[i+2])<<16|uint32(data[i+3])<<24)
	}
	return out
}

// UserName returns the login name of a user, or the number when it has none.
func UserName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// mayChange reports whether the caller is root or in the socket's group.
func (c Caller) mayChange(group uint32) bool {
	return c.UID == 0 || c.GID == group || slices.Contains(c.groups, group)
}

func callerFrom(ctx context.Context) Caller {
	c, ok := ctx.Value(callerKey{}).(Caller)
	if !ok {
		return Caller{UID: ^uint32(0), GID: ^uint32(0), User: "unknown"}
	}
	return c
}
