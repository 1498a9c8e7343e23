// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/system/fault/inject"
)

// diskFaults meet each create, write, sync and rename in the state folder.
var diskFaults = []inject.Fault{
	{Kill: true}, {Torn: true, Kill: true},
	{Errno: unix.ENOSPC}, {Errno: unix.EIO},
	{Errno: unix.ENOSPC, Last: true}, {Torn: true, Errno: unix.ENOSPC},
}

func TestDiskCallsOfStarts(t *testing.T)  { sweep(t, inject.Disk, diskFaults, starts) }
func TestDiskCallsOfChanges(t *testing.T) { sweep(t, inject.Disk, diskFaults, changes) }

// status writes nothing, so it is left out.
func TestDiskCallsWithoutAgent(t *testing.T) { sweep(t, inject.Disk, diskFaults, commands[:2]) }
