// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// overFake gives an agent a fake kernel.
func overFake(o *Options) *machine {
	m, h := newMachine(time.Now), o.Host
	o.owner = m.own
	o.open = func(loader.Options) (dataplane, error) { return &fake{m, h}, nil }
	o.links = func(context.Context) <-chan struct{} { return nil }
	o.network = fakeNetwork{machine: m}
	o.own = func() ([]netip.Addr, error) { return nil, nil }
	return m
}

// startFake runs a whole agent over a fake kernel until the test ends, and waits until it answers.
func startFake(t *testing.T, dir, yaml string) (*config.Host, *api.Client) {
	t.Helper()
	h, c, _ := startFakeOn(t, dir, yaml)
	return h, c
}

func startFakeOn(t *testing.T, dir, yaml string) (*config.Host, *api.Client, *machine) {
	t.Helper()
	h, path := writeHost(t, dir, yaml, noPins(t), "")
	o := Options{Host: h, HostPath: path, Version: "v0"}
	m := overFake(&o)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	c := api.NewClient(h.Listen.Socket)
	t.Cleanup(func() {
		c.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	answers(t, c)
	return h, c, m
}

func answers(t *testing.T, c *api.Client) {
	t.Helper()
	eventually(t, "the agent answers", func() error { return second(c.Status(context.Background())) })
}

// F14: the file of a socket that somebody removed, with its folder even, is made again within seconds, for each role;
// what was connected goes on.
func TestF14SocketsAreMadeAgain(t *testing.T) {
	h, c, m := startFakeOn(t, t.TempDir(), hostYAML)
	read := api.NewClient(h.Listen.Read.Socket)
	defer read.Close()
	answers(t, read)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	m.events <- bpf.Event{}
	follows, following := make(chan struct{}), make(chan error, 1)
	go func() {
		following <- c.Events(ctx, 1, true, func(api.Event) error { close(follows); return nil })
	}()
	select {
	case <-follows:
	case err := <-following:
		t.Fatal(err)
	}
	for what, remove := range map[string]func() error{
		"one":  func() error { return os.Remove(h.Listen.Socket) },
		"both": func() error { return errors.Join(os.Remove(h.Listen.Socket), os.Remove(h.Listen.Read.Socket)) },
		"folder": func() error {
			return os.RemoveAll(filepath.Dir(h.Listen.Socket))
		},
		"replaced": func() error {
			return errors.Join(os.Remove(h.Listen.Read.Socket), os.Symlink("/nowhere", h.Listen.Read.Socket),
				os.Remove(h.Listen.Read.Socket))
		},
	} {
		answers(t, c)
		answers(t, read)
		if err := remove(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c.Close() // new connections only
		read.Close()
		answers(t, c)
		answers(t, read)
	}
	if _, err := read.Rollback(context.Background(), ""); !strings.Contains(err.Error(), h.Listen.Socket) {
		t.Errorf("a change on the read socket: %v", err)
	}
	select {
	case err := <-following:
		t.Errorf("a connection of before ended: %v", err)
	default:
	}
}

// A group that does not exist leaves the socket to root, and status says so; the usual ones nobody needs to have.
func TestSocketGroups(t *testing.T) {
	dir := t.TempDir()
	_, c := startFake(t, dir, hostYAML)
	if s, err := c.Status(context.Background()); err != nil || hasProblem(s, ledger.ProblemAPI) ||
		hasProblem(s, ledger.ProblemRead) {
		t.Errorf("%+v, %v", s.Problems, err)
	}
}

// Metrics are on the sockets too, also for who may only look.
func TestMetricsOnASocket(t *testing.T) {
	h, _ := startFake(t, t.TempDir(), hostYAML)
	eventually(t, "metrics on the socket for readers", func() error { // the agent listens there after the other one
		text, err := overSocket(h.Listen.Read.Socket, "/metrics")
		if err == nil && !strings.Contains(text, "spillway_protected") {
			err = fmt.Errorf("%.200s", text)
		}
		return err
	})
}

// overSocket gets a page over a Unix socket.
func overSocket(socket, path string) (string, error) {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://s" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// F17, F18: whoever hangs up while its bundle is being built gets nothing into force, and its rollout says so; whoever
// hangs up later finds it by its key.
func TestF18HangUpDuringAnApply(t *testing.T) {
	_, c, m := startFakeOn(t, t.TempDir(), hostYAML)
	for _, row := range []struct {
		call, state string
	}{{"Build", api.RolloutWithdrawn}, {"Publish", api.RolloutDone}} {
		u, err := api.Pack(writeBundle(t, "at-"+strings.ToLower(row.call)))
		if err != nil {
			t.Fatal(err)
		}
		sending, hangUp := context.WithCancel(context.Background())
		m.mu.Lock()
		m.during = map[string]func(){row.call: func() {
			hangUp()
			time.Sleep(time.Second) // until the connection is closed
		}}
		m.mu.Unlock()
		if _, err := c.Apply(sending, u, api.ApplyOptions{Key: row.call}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", row.call, err)
		}
		eventually(t, "the rollout is over", func() error {
			all, err := c.Rollouts(context.Background())
			if err != nil {
				return err
			}
			ro := all.ByKey(row.call)
			if ro == nil || !ro.Over() {
				return fmt.Errorf("rollout %+v", ro)
			}
			if ro.State != row.state {
				t.Errorf("who hung up in %s: %s, want %s (%s)", row.call, ro.State, row.state, ro.Message)
			}
			return nil
		})
	}
	l, err := c.Bundles(context.Background())
	if err != nil || len(l.Bundles) != 1 || l.Bundles[0].Name != "at-publish" {
		t.Errorf("in force: %+v, %v", l, err)
	}
}
