// SPDX-License-Identifier: Apache-2.0

// Command spillway is all that runs on an edge, in one binary: the agent (spillway run) and everything that a person
// types. Here are flags and wiring; what commands do is in userspace.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, systemEnv(), os.Args[1:])
	stop()
	os.Exit(code)
}
