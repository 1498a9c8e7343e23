// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

// childEnv makes this test binary build a lab with an origin, say its id, and
// wait to be killed.
const childEnv = "SPILLWAY_LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	os.Exit(m.Run())
}

func runChild() int {
	l, err := New(context.Background(), Options{Name: "to be killed"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := l.StartOrigin(context.Background(), OriginOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.ID())
	select {}
}

// requireRoot skips, and in CI fails, without the privilege that a lab needs.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const missing = "a lab needs root: CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// newLab builds a lab that is closed when the test ends.
func newLab(t *testing.T) *Lab {
	t.Helper()
	requireRoot(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := New(t.Context(), Options{Name: t.Name(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// eventually waits until ask is true; the deadline is only for a broken lab.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return ask(), nil }); err != nil {
		t.Fatalf("wait until %s: %v", what, err)
	}
}
