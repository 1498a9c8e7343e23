// SPDX-License-Identifier: Apache-2.0

package release

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/view"
)

// Options of New. All but HostPath are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	Disk   Disk
	Hosts  hostFilesOnDisk
	// File is the host file in force; HostPath is where the next one is.
	File     func() *hostfile.File
	HostPath string
	// Own returns the addresses of this host: no bundle may block them.
	Own func() ([]netip.Addr, error)
	// Clock reads both clocks.
	Clock func() compile.Clock
	Around
}

// Around is what stands beside the releases.
type Around struct {
	// Use returns the kernel part and a function that gives it back.
	Use func() (Kernel, func(), error)
	// Lease is that of the kernel part in use.
	Lease func() Lease
	// Judge says what the kernel's state means now.
	Judge func(view.Kernel) view.Verdict
	// Keep remembers an image that was built.
	Keep func(*compile.Image)
	// Count takes what the kernel counted, before a slot is filled again.
	Count func(view.Kernel)
	// EndBypasses ends those of services that left the host file.
	EndBypasses func(k Kernel, before *compile.HostInfo, next *config.Host)
	// Stage is the room above, where changes go in stages; nil: there is none.
	Stage Stage
	// Shift moves what else is kept in wall time, when that clock was set.
	Shift func(time.Duration)
}
