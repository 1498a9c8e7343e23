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
func (d *Dataplane) Show(frame []byte) error {
	_, err := d.program.Run(&ebpf.RunOptions{Data: frame})
	return kernel.Explain(fmt.Sprintf("run a frame of %d bytes", len(frame)), err)
}

// OpenEvents opens the ring that Events reads.
func (d *Dataplane) OpenEvents() (*ringbuf.Reader, error) {
	r, err := ringbuf.NewReader(d.maps[bpf.DataplaneMapEvents])
	return r, kernel.Explain("open the event ring", err)
}

// Forget forgets a connection and all unfinished ClientHellos.
func (d *Dataplane) Forget(key bpf.FlowKey) error {
	if err := d.maps[bpf.DataplaneMapFlows].Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return kernel.Explain("forget a connection", err)
	}
	hellos := d.maps[bpf.DataplaneMapHellos]
	for place := range hellos.MaxEntries() {
		if err := hellos.Put(place, &bpf.Hello{}); err != nil {
			return kernel.Explain("forget a ClientHello", err)
		}
	}
	return nil
}
