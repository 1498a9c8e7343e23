// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
)

// planCapacity warns of a bundle that fits today and not into the host file on disk, which the next start reads.
func (mg *Manager) planCapacity(p *api.Plan, next *config.Set) {
	f, err := hostfile.Read(mg.HostPath)
	if err != nil || f.Host.Capacity == mg.Host().Capacity {
		return
	}
	for _, small := range loader.TooSmall(f.Host.Capacity.OrDefault(), next.Merge().Counts(), 0) {
		p.Warnings = append(p.Warnings, config.Fault{Code: config.CodeCapacity, File: mg.HostPath,
			Problem: "it does not fit into the host file on disk, which the next start reads: " + small, Valid: "a larger capacity, or a smaller bundle"})
	}
}
