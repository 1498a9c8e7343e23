// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
)

// OpenAside loads a dataplane with maps of its own that is pinned nowhere and takes no packets but those that Show
// sends it; adjust changes the settings that its programs are loaded with. Errors: ErrPermission, ErrUnsupported.
func OpenAside(c config.Capacity, adjust func(*bpf.Settings)) (*Dataplane, error) {
	return open(Options{Capacity: c, Lab: true}, adjust)
}

// Show sends one frame through the programs, whatever becomes of it.
func (ps *Programs) Show(frame []byte) error {
	_, err := ps.root.Program().Run(&ebpf.RunOptions{Data: frame})
	return kernel.Explain(fmt.Sprintf("run a frame of %d bytes", len(frame)), err)
}

// OpenEvents opens the ring that Events reads.
func (t *CounterTable) OpenEvents() (*ringbuf.Reader, error) {
	r, err := ringbuf.NewReader(t.maps[bpf.DataplaneMapEvents])
	return r, kernel.Explain("open the event ring", err)
}

// Forget forgets a connection and all unfinished ClientHellos.
func (t *FlowTable) Forget(key bpf.FlowKey) error {
	name := t.NameOf(key)
	if err := t.maps[bpf.DataplaneMapFlows].Delete(&name); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return kernel.Explain("forget a connection", err)
	}
	hellos := t.maps[bpf.DataplaneMapHellos]
	for place := range hellos.MaxEntries() {
		if err := hellos.Put(place, &bpf.Hello{}); err != nil {
			return kernel.Explain("forget a ClientHello", err)
		}
	}
	return nil
}

// Teach makes every shape of a ClientHello that is known one with this JA4: the next hello of that shape is looked up
// as if it had that. nil makes them all unknown.
func (t *FlowTable) Teach(ja4 *bpf.TLSFingerprint) error {
	for _, name := range []string{bpf.DataplaneMapShapes, bpf.DataplaneMapShapesListed} {
		var keys []bpf.ShapeKey
		var key bpf.ShapeKey
		for rows := t.maps[name].Iterate(); rows.Next(&key, &bpf.Shape{}); {
			keys = append(keys, key)
		}
		for _, key := range keys {
			err := t.maps[name].Delete(&key)
			if err == nil && ja4 != nil {
				shape := bpf.Shape{Check: shapeCheck(&key, ja4, t.words.at.Seed[0]), Tls: *ja4}
				err = t.maps[name].Put(&key, &shape)
			}
			if err != nil {
				return kernel.Explain("teach a JA4", err)
			}
		}
	}
	return nil
}

// shapeCheck is shape_check of bpf/ja4.h.
func shapeCheck(key *bpf.ShapeKey, ja4 *bpf.TLSFingerprint, seed uint64) uint64 {
	b := make([]byte, 0, unsafe.Sizeof(*key)+unsafe.Sizeof(*ja4))
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(key)), unsafe.Sizeof(*key))...)
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(ja4)), unsafe.Sizeof(*ja4))...)
	for ; len(b) > 0; b = b[8:] {
		seed = bits.RotateLeft64(seed, 23)*0x9e3779b97f4a7c15 ^ binary.NativeEndian.Uint64(b)
	}
	return seed
}
