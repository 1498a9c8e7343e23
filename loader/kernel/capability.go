// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Capability is a right that the kernel asks of a process.
type Capability struct {
	Name string // CAP_BPF
	Bit  uint
	Why  string // what the dataplane needs it for
}

// Capabilities are what loading, attaching and reading back need, and nothing else. There is no second list: package
// userspace/rights makes the unit's rights of this one. CAP_SYS_ADMIN is not among them: *_GET_FD_BY_ID wants it, so
// what must be opened again is pinned.
var Capabilities = []Capability{
	{"CAP_BPF", unix.CAP_BPF, "make maps, load programs"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "load XDP programs and attach them to an interface"},
	{"CAP_PERFMON", unix.CAP_PERFMON, "load them without the verifier's checks against Spectre, which would refuse them"},
}

// MissingCapabilities names those of Capabilities that the calling thread does not hold. CAP_SYS_ADMIN contains CAP_BPF
// and CAP_PERFMON (capabilities(7)).
func MissingCapabilities() []string {
	held, err := effective()
	if err != nil {
		return nil
	}
	var missing []string
	for _, c := range Capabilities {
		contained := slices.Contains([]uint{unix.CAP_BPF, unix.CAP_PERFMON}, c.Bit) && held&(1<<unix.CAP_SYS_ADMIN) != 0
		if held&(1<<c.Bit) == 0 && !contained {
			missing = append(missing, c.Name)
		}
	}
	return missing
}

// effective returns the capabilities of the calling thread, a bit each.
func effective() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), err
}

// Holds reports whether the calling thread has the capability.
func Holds(bit uint) bool {
	held, err := effective()
	return err == nil && held&(1<<bit) != 0
}
