// SPDX-License-Identifier: Apache-2.0

// Package smoke lives through the life of a dataplane on the running kernel, with real connections over a veth pair:
// load, attach, enforce, lose the process that loaded it to SIGKILL, adopt, swap, roll back, bypass, detach.
//
//	visitors, crawler (out0) ─── veth ─── (edge0: XDP) embedded origin
package smoke

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/lab"
)

// holderEnv makes this test binary load and attach a dataplane into the pins that it names, say so, and wait to be
// killed.
const holderEnv = "SPILLWAY_SMOKE_HOLDER"

func TestMain(m *testing.M) {
	if pins := os.Getenv(holderEnv); pins != "" {
		if err := hold(pins); err != nil {
			fmt.Fprintf(os.Stderr, "%+v\n", err)
			os.Exit(1)
		}
		fmt.Println("attached")
		for { // a select without cases is a deadlock to the runtime
			time.Sleep(time.Hour)
		}
	}
	os.Exit(m.Run())
}

func hold(pins string) error {
	d, err := loader.Open(loader.Options{Pins: pins, Capacity: plane.WebHost().Capacity})
	if err != nil {
		return err
	}
	if _, err := d.Attach("edge0", config.AttachNative); err != nil {
		return err
	}
	return publish(d, deny(lab.CrawlerPrefix4, lab.CrawlerPrefix6))
}

func deny(prefixes ...netip.Prefix) *config.Bundle {
	digest := config.Digest{1}
	copy(digest[1:], prefixes[0].String())
	return &config.Bundle{
		Version: 1, Name: "smoke",
		Rules:    []config.Rule{{ID: "bad", Label: "bad", Score: 100}},
		Prefixes: []config.PrefixList{{List: "own", Rule: "bad", Entries: prefixes}},
		Policy:   map[string]config.Policy{config.DefaultPolicy: {Drop: 80}},
		Digest:   digest,
	}
}

// publish puts the bundle into force.
func publish(d *loader.Dataplane, b *config.Bundle) error {
	return plane.Enforce(d, plane.WebHost(), b)
}

func testPins(t *testing.T) string {
	t.Helper()
	if err := plane.MountBPFFS(); err != nil {
		t.Fatal(err)
	}
	pins := plane.NewPins("smoke")
	t.Cleanup(func() {
		if err := loader.DetachPins(pins); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return pins
}

// dial opens one connection from src to the origin's plain port. A dropped SYN shows as a timeout.
func dial(ctx context.Context, l *lab.Lab, src netip.Addr) error {
	dst := netip.AddrPortFrom(lab.EdgeAddr4, 80)
	if src.Is6() {
		dst = netip.AddrPortFrom(lab.EdgeAddr6, 80)
	}
	c, err := l.Out.Dialer(src).DialContext(ctx, "tcp", dst.String())
	if err != nil {
		return err
	}
	return c.Close()
}

// wantServed fails unless both families get through.
func wantServed(t *testing.T, l *lab.Lab, what string, from ...netip.Prefix) {
	t.Helper()
	for _, p := range from {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := dial(ctx, l, p.Addr().Next()); err != nil {
			t.Errorf("%s: %s is not served: %v", what, p, err)
		}
		cancel()
	}
}

// wantDropped fails when a connection opens within the time in which others surely do.
func wantDropped(t *testing.T, l *lab.Lab, what string, from ...netip.Prefix) {
	t.Helper()
	for _, p := range from {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		err := dial(ctx, l, p.Addr().Next())
		cancel()
		if err == nil {
			t.Errorf("%s: %s is served", what, p)
		} else if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %s: %v, want silence", what, p, err)
		}
	}
}
