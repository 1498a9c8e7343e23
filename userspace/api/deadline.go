// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// deadlineHeader carries until when the client waits for a change, in nanoseconds of CLOCK_MONOTONIC: both are on one
// host. An agent that hung must not do, when it wakes, what its client has given up.
const deadlineHeader = "Spillway-Deadline"

type (
	deadlineKey struct{}
	hungUpKey   struct{}
)

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

func sendDeadline(ctx context.Context, r *http.Request) {
	if until, ok := ctx.Deadline(); ok && r.Method != http.MethodGet {
		r.Header.Set(deadlineHeader, strconv.FormatInt(monotonic()+int64(time.Until(until)), 10))
	}
}

func withDeadline(ctx context.Context, r *http.Request) context.Context {
	if c, ok := ctx.Value(connKey{}).(net.Conn); ok {
		ctx = context.WithValue(ctx, hungUpKey{}, func() bool { return hungUp(c) })
	}
	if until, err := strconv.ParseInt(r.Header.Get(deadlineHeader), 10, 64); err == nil {
		return context.WithValue(ctx, deadlineKey{}, until)
	}
	return ctx
}

// WithDeadline returns a context as a change gets it whose sender waits until then. It does not end by itself: a change
// that has begun is carried out whole.
func WithDeadline(ctx context.Context, until time.Time) context.Context {
	return context.WithValue(ctx, deadlineKey{}, monotonic()+int64(time.Until(until)))
}

// hungUp reports whether the other end of a connection is closed. The kernel knows it at once, also for an agent that
// was stopped: no clock and no reader of the connection is asked. One that only ended its writing still waits.
func hungUp(c net.Conn) bool {
	if p, ok := c.(*placedConn); ok {
		c = p.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always told
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone
}

// Late refuses a change whose client no longer waits: its time is over, or it hung up. A Backend asks once it holds its
// locks, before the effect; what was cancelled then never runs.
func Late(ctx context.Context) error {
	if gone, ok := ctx.Value(hungUpKey{}).(func() bool); ok && gone() {
		return &Error{Code: CodeCancelled,
			Message: "the sender of the request hung up before it was carried out; nothing changed", Fix: "ask again"}
	}
	if until, ok := ctx.Value(deadlineKey{}).(int64); ok && monotonic() >= until {
		return &Error{Code: CodeCancelled, Message: "the request came too late: its sender no longer waits; nothing changed",
			Fix: "look at `spillway status`, then ask again"}
	}
	return nil
}
