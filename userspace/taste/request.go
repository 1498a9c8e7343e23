// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
)

// Request is what a child needs to know: files by their names, and what only the agent reads off the kernel.
type Request struct {
	ID     string        `json:"id"`             // of the rollout
	Digest config.Digest `json:"digest"`         // of the stored set
	Number uint32        `json:"number"`         // of the generation to be
	Base   uint32        `json:"base"`           // the stable generation that it is built on
	Salt   uint64        `json:"salt,omitempty"` // of the canary; 0: from the author's digest

	State string `json:"state"` // the folder of the stored bundles
	Pins  string `json:"pins"`

	HostText   string            `json:"host_text"`            // the host file in force
	Host       *compile.HostInfo `json:"host"`                 // as the kernel holds it: services keep their ids
	Change     config.Digest     `json:"change,omitzero"`      // of the host file that is on trial, or was not accepted
	Undeclared bool              `json:"undeclared,omitempty"` // what the set declares was said of something else
	Own        []netip.Addr      `json:"own"`                  // addresses of this host
	Clock      compile.Clock     `json:"clock"`
	Capacity   config.Capacity   `json:"capacity"` // of the maps in use

	Golden bool `json:"golden,omitempty"` // the host file has golden clients
}

// Folder is where the child pins what it builds.
func (r *Request) Folder() string { return filepath.Join(root(r.Pins), r.ID) }

// root is the folder of all children below the pins.
func root(folder string) string { return pins.Folder{Path: folder}.Tastes() }

// check refuses what would lead out of the folder.
func (r *Request) check() error {
	if r.ID == "" || strings.ContainsAny(r.ID, "/.") || r.Pins == "" || r.Number == 0 {
		return fmt.Errorf("taste %q as generation %d below %q: no such request", r.ID, r.Number, r.Pins)
	}
	return nil
}

// Limits of a child.
type Limits struct {
	Wall   time.Duration // from its start to its result
	Memory uint64        // bytes that it may have beside the kernel's maps
	Output int64         // bytes of its result
	Stuck  time.Duration // how long one that was killed is waited for
}

// memoryMost holds a bundle of several million rows: one million takes some 180 MiB.
const memoryMost = 2 << 30

// DefaultLimits give a child as much memory as Go's part of this process may have.
func DefaultLimits() Limits {
	return Limits{Wall: 5 * time.Minute, Memory: uint64(min(debug.SetMemoryLimit(-1), memoryMost)), Output: 4 << 20,
		Stuck: 10 * time.Second}
}
