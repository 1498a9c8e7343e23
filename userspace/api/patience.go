// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hung says that an agent is there and takes connections, but has answered nothing for so long. What it was asked is
// cancelled: it will not do it when it goes on.
type Hung struct {
	PID int // 0 when it cannot be known
	For time.Duration
}

// Error implements error.
func (e *Hung) Error() string {
	who := "the agent"
	if e.PID != 0 {
		who = fmt.Sprintf("the agent (process %d)", e.PID)
	}
	return fmt.Sprintf("%s hangs: it has answered nothing for %s; what it was asked is cancelled", who, e.For)
}

// pingInterval is how often a slow agent is asked whether it lives.
const pingInterval = time.Second

// watch cancels a request when the agent hangs: a slow one answers pings meanwhile. It returns when the request is
// over. A request without patience is not watched.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	if c.Patience <= 0 {
		return
	}
	begun := time.Now()
	alive := begun
	interval := min(pingInterval, c.Patience/2)
	wait := time.NewTimer(interval)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		ping, end := context.WithDeadline(ctx, alive.Add(c.Patience))
		err := c.ping(ping)
		late := ping.Err() != nil
		end()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			alive = time.Now()
			if c.Alive != nil {
				c.Alive(alive.Sub(begun))
			}
		case late:
			cancel(&Hung{PID: c.pid(), For: c.Patience})
			return
		}
		// An agent that ended tells the request itself, by the end of its connection.
		wait.Reset(interval)
	}
}

// ping succeeds when the agent answers anything at all.
func (c *Client) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://spillway/v1/ping", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// pid returns the process of the agent: the kernel knows who listens, also while nobody answers.
func (c *Client) pid() int {
	conn, err := net.DialTimeout("unix", c.socket, time.Second)
	if err != nil {
		return lockOwner(c.socket + LockSuffix)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// LockSuffix makes, of a socket's path, that of the lock of the agent that owns it.
const LockSuffix = ".lock"

// lockOwner returns the process that holds a lock on a file, from /proc/locks; 0 when nobody does. It is asked when the
// socket's backlog is full.
func lockOwner(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	inode := ":" + strconv.FormatUint(st.Ino, 10)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // 1: FLOCK ADVISORY WRITE 812 00:19:4711 0 EOF
		if len(fields) > 5 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], inode) {
			pid, _ := strconv.Atoi(fields[4])
			return pid
		}
	}
	return 0
}
