// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// words maps the runtime words, for what only a test sets: an old heartbeat, a known key of the SYN index, a budget
// that is used up.
type words struct {
	pages [][]byte
	root  *bpf.RootWords
	at    *bpf.Runtime
}

func (w *words) open(root, own *ebpf.Map) error {
	for _, m := range []*ebpf.Map{root, own} {
		page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map the words: %w", err)
		}
		w.pages = append(w.pages, page)
	}
	w.root, w.at = (*bpf.RootWords)(unsafe.Pointer(&w.pages[0][0])), (*bpf.Runtime)(unsafe.Pointer(&w.pages[1][0]))
	return nil
}

func (w *words) close() error {
	var errs []error
	for _, page := range w.pages {
		errs = append(errs, unix.Munmap(page))
	}
	return errors.Join(errs...)
}

func (w *words) setHeartbeat(ns uint64) { atomic.StoreUint64(&w.root.HeartbeatNs, ns) }

func (w *words) setClock(ns uint64) { atomic.StoreUint64(&w.at.ClockNs, ns) }

func (w *words) setSpent(number uint32) {
	atomic.StoreUint64(&w.at.Tripped[bpf.LaneMain], uint64(number))
}

func (w *words) setSynKey(key [2]uint64) {
	for i := range key {
		atomic.StoreUint64(&w.at.Seed[i], key[i])
	}
}
