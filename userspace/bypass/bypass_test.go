// SPDX-License-Identifier: Apache-2.0

package bypass

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

var (
	ctx  = context.Background()
	root = api.Caller{User: "root"}
)

// kernel has the words of the bypass, by service; 0 is everything. Nothing else of it is asked.
type kernel struct {
	view.Kernel
	host  *compile.HostInfo // nil: none is published
	words map[uint8]loader.Deadline
}

func (k *kernel) Host() (*compile.HostInfo, error) { return k.host, nil }

func (k *kernel) Control() loader.Control {
	if k.host == nil {
		return loader.Control{}
	}
	return loader.Control{Host: 1}
}

func (k *kernel) Bypass() loader.Deadline                          { return k.words[0] }
func (k *kernel) ServiceBypass(id uint8) loader.Deadline           { return k.words[id] }
func (k *kernel) SetBypass(until loader.Deadline)                  { k.words[0] = until }
func (k *kernel) SetServiceBypass(id uint8, until loader.Deadline) { k.words[id] = until }

// edge is a kernel, a disk and a clock.
type edge struct {
	*Switch
	clock  time.Time
	kernel *kernel
	disk   error // of writes
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), kernel: &kernel{words: map[uint8]loader.Deadline{}}}
	e.publish()
	now := func() time.Time { return e.clock }
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	store, err := state.Open(dir, state.Options{Now: now, Fault: func(op, _ string) error {
		if op == "read" {
			return nil
		}
		return e.disk
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	e.Switch = New(Options{Log: log, Ledger: ledger.New(store, ledger.Options{Log: log, Now: now, Folder: dir}),
		Use:  func() (Kernel, func(), error) { return e.kernel, func() {}, nil },
		Read: func(k view.Kernel) view.Reading { return view.Reading{Control: k.Control(), Bypass: k.Bypass()} }})
	return e
}

func (e *edge) publish() {
	e.kernel.host = &compile.HostInfo{Services: []compile.ServiceInfo{{ID: 1, Name: "web"}, {ID: 2, Name: "dns"}}}
}

// reboot has new maps without a host file, until publish.
func (e *edge) reboot() { e.kernel = &kernel{words: map[uint8]loader.Deadline{}} }

func (e *edge) lastLine(t *testing.T) string {
	t.Helper()
	h, err := e.Ledger.History(ctx, 1)
	if err != nil || len(h.Entries) != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
	return strings.TrimSpace(h.Entries[0].Verb + " " + h.Entries[0].Outcome + " " + h.Entries[0].Name)
}

func TestSet(t *testing.T) {
	for _, row := range []struct {
		name   string
		r      api.BypassRequest
		id     uint8
		until  time.Duration // of the word; -1: for ever
		refuse string
	}{
		{"everything", api.BypassRequest{On: true}, 0, -1, ""},
		{"for an hour", api.BypassRequest{On: true, ForSeconds: 3600}, 0, time.Hour, ""},
		{"a service", api.BypassRequest{On: true, Service: "dns", ForSeconds: 60}, 2, time.Minute, ""},
		{"off", api.BypassRequest{}, 0, 0, ""},
		{"an unknown service", api.BypassRequest{On: true, Service: "wep"}, 0, 0, api.CodeNotFound},
		{"a negative length", api.BypassRequest{On: true, ForSeconds: -1}, 0, 0, api.CodeInvalid},
		{"a length of centuries", api.BypassRequest{On: true, ForSeconds: 1e12}, 0, 0, api.CodeInvalid},
		{"off for a time", api.BypassRequest{ForSeconds: 1}, 0, 0, api.CodeInvalid},
	} {
		e := newEdge(t)
		c, err := e.Set(ctx, root, row.r)
		if row.refuse != "" {
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Code != row.refuse || refused.Fix == "" || len(e.kernel.words) != 0 {
				t.Errorf("%s: %v, the kernel has %v", row.name, err, e.kernel.words)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		got := e.kernel.words[row.id]
		switch row.until {
		case -1:
			if got != loader.DeadlineForever || !c.Until.IsZero() {
				t.Errorf("%s: the word is %d, told is %v", row.name, got, c.Until)
			}
		case 0:
			if got.Active() {
				t.Errorf("%s: the word is %d", row.name, got)
			}
		default:
			if (got.Left()-row.until).Abs() > 10*time.Second || !c.Until.Equal(e.clock.Add(row.until)) {
				t.Errorf("%s: %v left, told is %v", row.name, got.Left(), c.Until)
			}
		}
		if b, known := e.Ledger.Record().Bypass[row.r.Service]; known != row.r.On || known && b.By != "root" {
			t.Errorf("%s: the record has %+v", row.name, b)
		}
	}
}

// Who panics does not wait for a disk; the sender is told what a reboot forgets.
func TestSetWithoutADisk(t *testing.T) {
	e := newEdge(t)
	e.disk = unix.ENOSPC
	c, err := e.Set(ctx, root, api.BypassRequest{On: true})
	if err != nil || !e.kernel.Bypass().Active() ||
		!strings.Contains(strings.Join(c.Details, "; "), "the disk refused the record") {
		t.Errorf("%+v, %v", c, err)
	}
}

// An operator who panicked meant it: also after a reboot, and for services once they have ids again.
func TestBypassSurvivesAReboot(t *testing.T) {
	e := newEdge(t)
	for _, r := range []api.BypassRequest{{On: true}, {On: true, Service: "web", ForSeconds: 3600},
		{On: true, Service: "dns", ForSeconds: 60}} {
		if _, err := e.Set(ctx, root, r); err != nil {
			t.Fatal(err)
		}
	}
	e.clock = e.clock.Add(30 * time.Minute)
	e.reboot()
	e.Restore(e.kernel)
	e.Adopt(e.kernel) // no host file yet: nobody ended the bypass of a service
	e.publish()
	e.RestoreServices(e.kernel)
	if got := e.kernel.words; got[0] != loader.DeadlineForever ||
		(got[1].Left()-30*time.Minute).Abs() > 10*time.Second || got[2] != 0 {
		t.Errorf("the kernel has %v", got)
	}
	e.Adopt(e.kernel)
	if all := e.Ledger.Record().Bypass; len(all) != 2 || all["web"].By != "root" {
		t.Errorf("the record has %+v", all)
	}
}

// The kernel is right, whoever changed it.
func TestAdopt(t *testing.T) {
	for _, row := range []struct {
		name   string
		before api.BypassRequest
		change func(*kernel)
		passes time.Duration
		want   string // the newest line of the history
		left   int    // in the record
	}{
		{"switched on by a command", api.BypassRequest{}, func(k *kernel) { k.SetBypass(loader.DeadlineForever) }, 0,
			"bypass on found", 1},
		{"a service by a command", api.BypassRequest{}, func(k *kernel) { k.SetServiceBypass(1, loader.In(time.Hour)) }, 0,
			"bypass on found web", 1},
		{"switched off by a command", api.BypassRequest{On: true}, func(k *kernel) { k.SetBypass(0) }, 0,
			"bypass off found", 0},
		{"ended by itself", api.BypassRequest{On: true, ForSeconds: 60}, func(k *kernel) { k.SetBypass(0) }, time.Minute,
			"bypass on done", 0},
		{"as it was", api.BypassRequest{On: true}, func(*kernel) {}, 0, "bypass on done", 1},
		{"of a number that nobody has", api.BypassRequest{On: true}, func(k *kernel) { k.SetServiceBypass(9, 1) }, 0,
			"bypass on done", 1},
	} {
		e := newEdge(t)
		if _, err := e.Set(ctx, root, row.before); err != nil {
			t.Fatal(err)
		}
		row.change(e.kernel)
		e.clock = e.clock.Add(row.passes)
		e.Adopt(e.kernel)
		if got := e.lastLine(t); got != row.want {
			t.Errorf("%s: the history says %q, want %q", row.name, got, row.want)
		}
		if all := e.Ledger.Record().Bypass; len(all) != row.left || e.kernel.words[9] != 0 {
			t.Errorf("%s: the record has %+v, the kernel %v", row.name, all, e.kernel.words)
		}
	}
}

// Whoever gets the number of a service that left did not panic.
func TestEndLeft(t *testing.T) {
	e := newEdge(t)
	before := e.kernel.host
	for id := range uint8(3) {
		e.kernel.words[id] = loader.DeadlineForever
	}
	e.EndLeft(e.kernel, before, &config.Host{Services: []config.Service{{Name: "web"}}})
	if got := e.kernel.words; !got[0].Active() || !got[1].Active() || got[2].Active() {
		t.Errorf("the kernel has %v", got)
	}
	e.EndLeft(e.kernel, nil, &config.Host{})
	if !e.kernel.words[1].Active() {
		t.Error("without a host file in the kernel nobody left")
	}
}

// Status says who did it, where that is known.
func TestTell(t *testing.T) {
	e := newEdge(t)
	for _, service := range []string{"", "web"} { // that of everything is over, and the record does not know yet
		if _, err := e.Set(ctx, root, api.BypassRequest{On: true, Service: service, Reason: "login"}); err != nil {
			t.Fatal(err)
		}
	}
	s := &api.Status{Services: []api.Service{{Name: "web", Bypass: api.Bypass{Active: true}},
		{Name: "dns", Bypass: api.Bypass{Active: true}}}}
	e.Tell(s)
	if got := s.Services[0].Bypass; got.By != "root" || got.Reason != "login" || !got.Since.Equal(e.clock) ||
		s.Services[1].Bypass.By != "" || s.Bypass.By != "" {
		t.Errorf("%+v, %+v", s.Bypass, s.Services)
	}
}
