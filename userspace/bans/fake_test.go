// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

var (
	ctx     = context.Background()
	root    = api.Caller{User: "root"}
	scraper = netip.MustParsePrefix("198.51.100.7/32")
	scanner = netip.MustParsePrefix("198.51.100.8/32")
)

// kernel has the maps of bans. Nothing else of it is asked.
type kernel struct {
	view.Kernel
	now    func() time.Time
	bans   map[netip.Prefix]time.Time
	epoch  uint64
	refuse error
}

func (k *kernel) Bans() ([]loader.Ban, error) {
	var all []loader.Ban
	for p, until := range k.bans {
		all = append(all, loader.Ban{Prefix: p, Expires: until})
	}
	return all, nil
}

func (k *kernel) Ban(p netip.Prefix, ttl time.Duration) error {
	if k.refuse != nil {
		return k.refuse
	}
	k.bans[p] = k.now().Add(ttl)
	k.epoch++
	return nil
}

func (k *kernel) Unban(p netip.Prefix) (bool, error) {
	_, there := k.bans[p]
	delete(k.bans, p)
	k.epoch++
	return there, k.refuse
}

func (k *kernel) SweepBans() (int, error) {
	n := len(k.bans)
	for p, until := range k.bans {
		if !until.After(k.now()) {
			delete(k.bans, p)
		}
	}
	return n - len(k.bans), nil
}

func (k *kernel) BanEpoch() uint64 { return k.epoch }

func (k *kernel) RestoreBans(left map[netip.Prefix]time.Duration) error {
	k.epoch++
	for p, ttl := range left {
		if k.refuse != nil {
			return k.refuse
		}
		k.bans[p] = k.now().Add(ttl)
	}
	return nil
}

func (k *kernel) SettleBans() error {
	k.epoch++
	return k.refuse
}

// edge is a kernel, a disk and a clock, and the bans of one agent after the other.
type edge struct {
	*Bans
	t      *testing.T
	dir    string
	clock  time.Time
	kernel *kernel
	store  *state.Store
	disk   error // of writes
}

func newEdge(t *testing.T) *edge {
	e := &edge{t: t, dir: t.TempDir(), clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	e.reboot()
	return e
}

func (e *edge) now() time.Time { return e.clock }

// start is an agent that adopts the kernel.
func (e *edge) start() {
	e.t.Helper()
	store, err := state.Open(e.dir, state.Options{Now: e.now, Fault: func(op, _ string) error {
		if op == "read" {
			return nil
		}
		return e.disk
	}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.store = store
	e.t.Cleanup(func() { _ = store.Close() })
	log := slog.New(slog.DiscardHandler)
	host := config.DefaultHost()
	host.Allowlist = []config.AllowEntry{{Prefix: netip.MustParsePrefix("203.0.113.0/28"), Note: "office"}}
	host.Guards.BanRate, host.Capacity.Bans = 3, 4
	e.Bans = New(Options{Log: log, Ledger: ledger.New(store, ledger.Options{Log: log, Now: e.now, Folder: e.dir}),
		Record: store.Bans(),
		Use:    func() (Kernel, func(), error) { return e.kernel, func() {}, nil },
		Host:   func() *config.Host { return host },
		Own:    func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil },
		Judge:  func(view.Kernel) view.Verdict { return view.Verdict{} }})
	if err := e.Adopt(e.kernel); err != nil {
		e.t.Fatal(err)
	}
}

// restart is a kill and a start; reboot has new maps, too.
func (e *edge) restart() {
	if e.store != nil {
		_ = e.store.Close()
	}
	e.start()
}

func (e *edge) reboot() {
	e.kernel = &kernel{now: e.now, bans: map[netip.Prefix]time.Time{}}
	e.restart()
}

func (e *edge) ban(p netip.Prefix, length time.Duration) {
	e.t.Helper()
	if _, err := e.Ban(ctx, root,
		api.BanRequest{Prefix: p.String(), ForSeconds: length.Seconds(), Reason: "test"}); err != nil {
		e.t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := err.(*api.Error); !ok || e.Code != code || e.Fix == "" {
		t.Errorf("got %v, want code %s", err, code)
	}
}
