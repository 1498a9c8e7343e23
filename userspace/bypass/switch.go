// SPDX-License-Identifier: Apache-2.0

package bypass

import (
	"log/slog"
	"sync"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/view"
)

// Kernel is what is needed of the kernel part.
type Kernel interface {
	view.Kernel
	SetBypass(loader.Deadline)
	SetServiceBypass(id uint8, until loader.Deadline)
}

// Options of New. All are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	// Use returns the kernel part and a function that gives it back.
	Use func() (Kernel, func(), error)
	// Read is what the kernel's state is judged by.
	Read func(view.Kernel) view.Reading
}

// Switch is the bypass of everything, and of each service.
type Switch struct {
	Options
	// mu orders changes of the bypass: who panics does not wait for an apply.
	mu sync.Mutex
}

// New touches nothing until it is asked to.
func New(o Options) *Switch { return &Switch{Options: o} }

// Tell adds to status who switched it on, and why.
func (w *Switch) Tell(s *api.Status) {
	known := w.Ledger.Record().Bypass
	explain := func(b *api.Bypass, name string) {
		if by, ok := known[name]; ok && b.Active {
			b.Since, b.By, b.Reason = by.Since, by.By, by.Reason
		}
	}
	explain(&s.Bypass, "")
	for i := range s.Services {
		explain(&s.Services[i].Bypass, s.Services[i].Name)
	}
}
