// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// HostInfo is the host file as the kernel holds it.
type HostInfo struct {
	Number       uint32
	AgentTimeout time.Duration // negative: never
	Services     []ServiceInfo
}

// ServiceInfo is one service as the kernel holds it.
type ServiceInfo struct {
	ID   uint8
	Name string
	Kind string
	Tag  uint32
	// Confirm says who may vouch for its connections beside sockets of this host; "" where nobody is asked (UDP).
	Confirm config.Confirm
}

// confirmOf reads who may vouch for connections of a service.
func confirmOf(s bpf.Service) config.Confirm {
	has := func(flag bpf.DataplaneServiceFlags) bool { return s.Flags&uint8(flag) != 0 }
	switch {
	case s.Kind == uint8(bpf.KindQUIC), s.Kind == uint8(bpf.KindUDP):
		return ""
	case has(bpf.ServiceAsksEgress):
		return config.ConfirmEgress
	case has(bpf.ServiceAsksConntrack):
		return config.ConfirmAuto
	}
	return config.ConfirmSocket
}

// Service returns the service of that name.
func (h *HostInfo) Service(name string) (ServiceInfo, bool) {
	for _, s := range h.Services {
		if s.Name == name {
			return s, true
		}
	}
	return ServiceInfo{}, false
}

// Service reads a service of the kernel.
func Service(id uint8, s bpf.Service) ServiceInfo {
	return ServiceInfo{ID: id, Name: ServiceName(s), Kind: kindNames[bpf.ServiceKind(s.Kind)], Tag: s.Tag,
		Confirm: confirmOf(s)}
}
