// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"github.com/spillway/spillway/loader/compile"
)

// Published is where the host file in force can be read.
type Published interface {
	Host() (*compile.HostInfo, error)
}

// Compile compiles a host file so that services that the kernel knows keep their ids.
func Compile(k Published, f *File, number uint32) (*compile.HostImage, error) {
	current, err := k.Host()
	if err != nil {
		return nil, err
	}
	if number == 0 && current != nil {
		number = current.Number
	}
	return compile.HostFileSince(f.Host, f.Since, current, number)
}
