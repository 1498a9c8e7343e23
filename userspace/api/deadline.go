// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// deadlineHeader carries until when the client waits for a change, in nanoseconds of CLOCK_MONOTONIC: both are on one
// host. An agent that hung must not do, when it wakes, what its client has given up.
const deadlineHeader = "Spillway-Deadline"

type deadlineKey struct{}

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

// Late refuses a change whose client no longer waits. A Backend asks once it holds its locks, before the effect.
func Late(ctx context.Context) error {
	if until, ok := ctx.Value(deadlineKey{}).(int64); ok && monotonic() >= until {
		return &Error{Code: CodeConflict, Message: "the request came too late: its sender no longer waits; nothing changed", Fix: "look at `spillway status`, then ask again"}
	}
	return nil
}
