// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// ForgetTrips has no generation tripped any more. No agent does so: a trip is for good.
func (p *Plane) ForgetTrips() error {
	p.SetTripped(0)
	m, err := p.Map(bpf.DataplaneMapWords)
	if err != nil {
		return err
	}
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the runtime words: %w", err)
	}
	at := (*bpf.Runtime)(unsafe.Pointer(&page[0]))
	for lane := range at.Tripped {
		atomic.StoreUint64(&at.Tripped[lane], 0)
	}
	return unix.Munmap(page)
}
