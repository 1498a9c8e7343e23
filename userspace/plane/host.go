// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// CompileHost compiles a host file so that services that the kernel knows keep their ids.
func CompileHost(d Dataplane, h *config.Host, number uint32) (*loader.HostImage, error) {
	current, err := d.Host()
	if err != nil {
		return nil, err
	}
	if number == 0 && current != nil {
		number = current.Number
	}
	return loader.CompileHost(h, current, number)
}
