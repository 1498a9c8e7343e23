// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// The demo has told its end already, except what it could not remove.
func TestEndOfTheDemoIsToldOnce(t *testing.T) {
	ended, stop := context.WithCancel(context.Background())
	stop()
	pipe := &fs.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
	for _, row := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{context.Background(), errors.Join(pipe, nil), true},
		{context.Background(), errors.Join(pipe, errors.New("clean up: a namespace stays")), false},
		{context.Background(), pipe, false}, // of something else
		{ended, errors.Join(context.Canceled, nil), true},
		{ended, errors.Join(context.Canceled, errors.New("clean up: a namespace stays")), false},
		{context.Background(), errors.New("no nginx"), false},
	} {
		if got := toldAlready(row.ctx, row.err); got != row.want {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"extra"}, exitUsage, "extra"},
		{[]string{"--help"}, exitOK, ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), &stdout, &stderr, row.args); code != row.code ||
			!strings.Contains(stderr.String(), row.says) {
			t.Errorf("%v: exit code %d, stderr %q; want %d, %q", row.args, code, stderr.String(), row.code, row.says)
		}
	}
}
