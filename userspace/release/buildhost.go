// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/hostfile"
)

// hostFile compiles a host file under the next number and builds it aside. It publishes nothing.
func (bl *builder) hostFile(d slots, f *hostfile.File) (*compile.HostImage, uint8, error) {
	number, err := nextHostNumber(d)
	if err != nil {
		return nil, 0, err
	}
	host, err := hostfile.Compile(d, f, number)
	if err != nil {
		return nil, 0, fmt.Errorf("compile host file: %w", err)
	}
	slot, err := d.BuildHost(host)
	if err != nil {
		return nil, 0, fmt.Errorf("build host file: %w", err)
	}
	return host, slot, nil
}

func nextHostNumber(d slots) (uint32, error) {
	current, err := d.Host()
	if err != nil {
		return 0, err
	}
	if current == nil {
		return 1, nil
	}
	return current.Number + 1, nil
}

// addsService reports whether a host file has a service that the old one has not: no bundle in the kernel has a policy
// for it.
func addsService(old, next *config.Host) bool {
	return slices.ContainsFunc(next.Services, func(s config.Service) bool {
		return !slices.ContainsFunc(old.Services, func(o config.Service) bool { return o.Name == s.Name })
	})
}
