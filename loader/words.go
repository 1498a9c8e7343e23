// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// Words are the words that every packet reads: which slots count, and what counts until when.
type Words struct {
	*site
	*words
	lastBypass atomic.Uint64 // of everything, at the last beat
}

// words is the mapping of the runtime words that every packet reads. Each word is stored whole, by one writer.
type words struct {
	page []byte
	at   *bpf.Runtime
}

func mapWords(m *ebpf.Map) (*words, error) {
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, kernel.Explain("map the runtime words", err)
	}
	w := &words{page: page, at: (*bpf.Runtime)(unsafe.Pointer(&page[0]))}
	if err := w.seed(); err != nil {
		_ = unix.Munmap(page)
		return nil, err
	}
	return w, nil
}

// seed gives all keys of hashes their values, once in the life of the pinned state: remembered SYNs and flows stay
// findable when an agent starts again.
func (w *words) seed() error {
	for _, words := range [][]uint64{w.at.Seed[:], w.at.NameKeys.Words[0][:], w.at.NameKeys.Words[1][:]} {
		for i := range words {
			if atomic.LoadUint64(&words[i]) != 0 {
				continue
			}
			var b [8]byte
			if _, err := rand.Read(b[:]); err != nil {
				return fmt.Errorf("draw a seed: %w", err)
			}
			atomic.CompareAndSwapUint64(&words[i], 0, max(binary.LittleEndian.Uint64(b[:]), 1))
		}
	}
	return nil
}

// setSeed takes over the seed of another layout: what is hashed by it stays where it is.
func (w *words) setSeed(seed [2]uint64) {
	for i := range seed {
		if seed[i] != 0 {
			atomic.StoreUint64(&w.at.Seed[i], seed[i])
		}
	}
}

func (w *words) close() error { return unix.Munmap(w.page) }

// ServiceBypass returns the kill switch of one service; an unknown id has none.
func (ws *Words) ServiceBypass(id uint8) Deadline {
	if int(id) >= len(ws.at.ServiceBypassUntilNs) {
		return 0
	}
	return Deadline(atomic.LoadUint64(&ws.at.ServiceBypassUntilNs[id]))
}

// SetServiceBypass lets one service pass until the deadline; 0 ends it.
func (ws *Words) SetServiceBypass(id uint8, until Deadline) {
	if int(id) < len(ws.at.ServiceBypassUntilNs) {
		ws.unseen(func() { atomic.StoreUint64(&ws.at.ServiceBypassUntilNs[id], uint64(until)) })
	}
}

// SetLease lets the candidate count until the deadline; then the kernel goes back to stable by itself.
func (ws *Words) SetLease(until Deadline) {
	atomic.StoreUint64(&ws.at.LeaseNs, uint64(until))
}

// Lease returns the candidate's deadline.
func (ws *Words) Lease() Deadline {
	return Deadline(atomic.LoadUint64(&ws.at.LeaseNs))
}

// SetTripped ends the authority of the candidate with this number at once; 0 ends nobody's. What a lane says of a
// budget stays.
func (ws *Words) SetTripped(generation uint32) {
	atomic.StoreUint64(&ws.at.Ended, uint64(generation))
}

// Tripped returns which generations decide no more.
func (ws *Words) Tripped() Trips {
	t := Trips{Ended: uint32(atomic.LoadUint64(&ws.at.Ended))}
	for lane := range ws.at.Tripped {
		word := atomic.LoadUint64(&ws.at.Tripped[lane])
		t.Spent[lane] = [2]uint32{uint32(word), uint32(word >> 32)}
	}
	return t
}

// inherit lets a trip count for what the tripped generation was built again as.
func (ws *Words) inherit(r Rebuilt) {
	if r == (Rebuilt{}) {
		return
	}
	for lane := range ws.at.Tripped {
		at, next := &ws.at.Tripped[lane], uint64(r.Was)|uint64(r.Now)<<32
		for word := atomic.LoadUint64(at); word != next && (uint32(word) == r.Was || uint32(word>>32) == r.Was); {
			if atomic.CompareAndSwapUint64(at, word, next) {
				break
			}
			word = atomic.LoadUint64(at)
		}
	}
}

// SetTellAll makes every decision an event until the deadline, within the budget of events of each processor; else
// passes are thinned out.
func (ws *Words) SetTellAll(until Deadline) {
	atomic.StoreUint64(&ws.at.TellUntilNs, uint64(until))
}

// beside is the slot of a generation that the control word does not name and that is compared all the same; 0: none.
func (ws *Words) beside() uint8 { return uint8(atomic.LoadUint64(&ws.at.Beside)) & (bpf.Slots - 1) }

// noteBanned says that addresses which begin as a ban does may be banned. Whoever bans says so before and after:
// another may have taken the bit away in between, having read the bans before.
func (ws *Words) noteBanned(ban bpf.Prefix6Key) {
	var bits [bpf.FirstBytes]uint64
	compile.NoteFirstBytes(&bits, ban)
	for i := range bits {
		atomic.OrUint64(&ws.at.Banned[i], bits[i])
	}
}

// setBanned says it of those that are banned, and of no others.
func (ws *Words) setBanned(all map[bpf.Prefix6Key]bpf.Ban) {
	var bits [bpf.FirstBytes]uint64
	for ban := range all {
		compile.NoteFirstBytes(&bits, ban)
	}
	for i := range bits {
		atomic.StoreUint64(&ws.at.Banned[i], bits[i])
	}
}

func (ws *Words) bumpBanEpoch() {
	// Flows compare 32 bits of it; 0 means that there never was a ban.
	if atomic.AddUint64(&ws.at.BanEpoch, 1)&0xffffffff == 0 {
		atomic.AddUint64(&ws.at.BanEpoch, 1)
	}
}
