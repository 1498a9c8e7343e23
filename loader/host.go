// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// Host returns the published host file, nil when none is.
func (sl *Slots) Host() (*compile.HostInfo, error) {
	slot := sl.words.Control().Host
	if slot == bpf.SlotEmpty {
		return nil, nil
	}
	var h bpf.Host
	if err := sl.lookupInner("hosts", slot, &h); err != nil {
		return nil, err
	}
	info := &compile.HostInfo{Number: h.Number, AgentTimeout: time.Duration(h.AgentTimeoutNs)}
	if h.AgentTimeoutNs == bpf.Never {
		info.AgentTimeout = -1
	}
	for id, s := range h.Services {
		if s.Tag != 0 {
			info.Services = append(info.Services, compile.Service(uint8(id), s))
		}
	}
	return info, nil
}
