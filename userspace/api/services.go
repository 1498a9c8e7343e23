// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
)

// ServiceNames maps ids to names; a service that left the host file keeps its counters under its id.
func ServiceNames(services []Service) map[uint8]string {
	names := map[uint8]string{}
	for id := range uint8(bpf.ServicesMax) {
		names[id] = fmt.Sprintf("id_%d", id)
	}
	names[0] = ""
	for _, s := range services {
		names[s.ID] = s.Name
	}
	return names
}
