// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

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
	if err := t.maps[bpf.DataplaneMapFlows].Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
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
