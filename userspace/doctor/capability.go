// SPDX-License-Identifier: Apache-2.0

package doctor

import "golang.org/x/sys/unix"

// What Spillway needs, and nothing else: CAP_BPF and CAP_NET_ADMIN to load and attach, CAP_PERFMON because without it
// the verifier adds Spectre checks. RLIMIT_MEMLOCK has not mattered to BPF since Linux 5.11.
var capabilities = []struct {
	bit  uint
	name string
}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_PERFMON, "CAP_PERFMON"}}

func needed() []string {
	var names []string
	for _, c := range capabilities {
		names = append(names, c.name)
	}
	return names
}

// missingCapabilities of the calling thread. CAP_SYS_ADMIN contains CAP_BPF and CAP_PERFMON (capabilities(7)).
func missingCapabilities() []string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	held := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	if held&(1<<unix.CAP_SYS_ADMIN) != 0 {
		held |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	var missing []string
	for _, c := range capabilities {
		if held&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing
}
