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

// A lock of the pins that fails once is told, although the same start gets it the second time.
func TestFirstLockOfThePinsFails(t *testing.T) {
	s := newSite(t)
	in := listen(t, s, inject.Disk)
	s.protect(t, in)
	if hit := s.point(t, starts[1], in, 2, inject.Fault{Errno: unix.EIO, Of: "mkdir /"}); hit != "mkdir /" {
		t.Errorf("the fault met %q", hit)
	}
	s.tr.VisitorsNeverNoticed(t)
}

func TestDiskCallsOfStarts(t *testing.T)  { sweep(t, inject.Disk, diskFaults, starts) }
func TestDiskCallsOfChanges(t *testing.T) { sweep(t, inject.Disk, diskFaults, changes) }

// status writes nothing, so it is left out.
func TestDiskCallsWithoutAgent(t *testing.T) { sweep(t, inject.Disk, diskFaults, commands[:2]) }
