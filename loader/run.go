// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/cilium/ebpf"
)

// Run sends one frame through the root program without any interface and returns the XDP action and the frame as the
// program left it. The frame must have at least 14 bytes, the kernel's least.
func (d *Dataplane) Run(frame []byte) (action uint32, out []byte, err error) {
	out = make([]byte, len(frame)+256) // the kernel wants room for what a program may add
	options := ebpf.RunOptions{Data: frame, DataOut: out}
	action, err = d.program.Run(&options)
	return action, options.DataOut, explain("run a packet", err)
}
