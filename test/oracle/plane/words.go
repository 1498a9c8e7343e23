// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// words maps the runtime words, for the two that only a test sets: an old heartbeat and a known key of the SYN index.
type words struct {
	page []byte
	at   *bpf.Runtime
}

func (w *words) open(m *ebpf.Map) error {
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the runtime words: %w", err)
	}
	w.page, w.at = page, (*bpf.Runtime)(unsafe.Pointer(&page[0]))
	return nil
}

func (w *words) close() error {
	if w.page == nil {
		return nil
	}
	return unix.Munmap(w.page)
}

func (w *words) setHeartbeat(ns uint64) { atomic.StoreUint64(&w.at.HeartbeatNs, ns) }

func (w *words) setSynKey(key [2]uint64) {
	for i := range key {
		atomic.StoreUint64(&w.at.Seed[i], key[i])
	}
}
