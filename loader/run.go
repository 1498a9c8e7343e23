// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/loader/kernel"
)

// Run sends one frame through the root program without any interface and returns the XDP action and the frame as the
// program left it. The frame must have at least 14 bytes, the kernel's least.
func (ps *Programs) Run(frame []byte) (action uint32, out []byte, err error) {
	return ps.RunAs(frame, Arrival{})
}

// Arrival says how a frame came. The zero value is one from no interface, in as few buffers as hold it.
type Arrival struct {
	Linear    int // bytes that lie in the first buffer, 14 at least (from Linux 6.18 on); 0: as many as it holds
	Interface int // index of the device
}

// xdpMD is struct xdp_md of include/uapi/linux/bpf.h.
type xdpMD struct {
	Data, DataEnd, DataMeta            uint32
	IngressIfindex, RxQueue, EgressIfx uint32
}

// RunAs does what Run does, with a frame that came so.
func (ps *Programs) RunAs(frame []byte, a Arrival) (action uint32, out []byte, err error) {
	out = make([]byte, len(frame)+256) // the kernel wants room for what a program may add
	options := ebpf.RunOptions{Data: frame, DataOut: out}
	if a != (Arrival{}) {
		ctx := xdpMD{DataEnd: uint32(len(frame)), IngressIfindex: uint32(a.Interface)}
		if a.Linear > 0 {
			ctx.DataEnd = uint32(a.Linear)
		}
		options.Context = ctx
	}
	action, err = ps.root.Program().Run(&options)
	return action, options.DataOut, kernel.Explain("run a packet", err)
}
