// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/config"
)

// What a port speaks, by convention (IANA's registry, and the usual alternates). TCP ports without a row are tcp.
var (
	kindsTCP = map[uint16]config.Kind{
		443: config.KindTLS, 8443: config.KindTLS, 4443: config.KindTLS, 9443: config.KindTLS,
		465: config.KindTLS, 636: config.KindTLS, 853: config.KindTLS, 990: config.KindTLS, 993: config.KindTLS,
		995: config.KindTLS, 6443: config.KindTLS, 8883: config.KindTLS,
		80: config.KindHTTP, 81: config.KindHTTP, 8000: config.KindHTTP, 8008: config.KindHTTP,
		8080: config.KindHTTP, 8081: config.KindHTTP, 8088: config.KindHTTP, 8888: config.KindHTTP,
		3000: config.KindHTTP, 5000: config.KindHTTP,
	}
	kindsUDP = map[uint16]config.Kind{
		443: config.KindQUIC, 8443: config.KindQUIC, 853: config.KindQUIC, 53: config.KindUDP,
	}
	// names of the ports that people know by a name.
	names = map[uint16]string{
		21: "ftp", 25: "smtp", 53: "dns", 80: "http", 110: "pop3", 143: "imap", 443: "web", 465: "smtps", 587: "submission",
		636: "ldaps", 853: "dot", 993: "imaps", 995: "pop3s", 1883: "mqtt", 3306: "mysql", 5432: "postgres",
		6379: "redis", 6443: "kubernetes", 8443: "web-8443", 8883: "mqtts",
	}
)

func kindOf(l Listener) config.Kind {
	if l.UDP {
		return kindsUDP[l.Port]
	}
	if k, ok := kindsTCP[l.Port]; ok {
		return k
	}
	return config.KindTCP
}

// rank orders listeners by how likely visitors use them: when the host file has no room for all, the last are left out.
func rank(l Listener) int {
	if i := slices.Index([]config.Kind{config.KindTLS, config.KindHTTP, config.KindQUIC}, kindOf(l)); i >= 0 {
		return i
	}
	return 3
}

// remoteProxies hold a listening socket for a container. Its own sockets are in another network namespace, so the
// kernel here cannot confirm a connection by them.
var remoteProxies = []string{"docker-proxy", "rootlessport", "slirp4netns", "pasta", "conmon"}

func (l Listener) service() config.Service {
	s := config.Service{
		Name: l.name(), Port: l.Port, Kind: kindOf(l), Local: !slices.Contains(remoteProxies, l.Process),
		Addresses: []config.Address{{}},
	}
	if l.Addresses != nil {
		s.Addresses = nil
		for _, a := range l.Addresses {
			s.Addresses = append(s.Addresses, config.Address{IP: a})
		}
	}
	return s
}

// note says who listens, as a comment of the host file.
func (l Listener) note() string {
	switch {
	case l.Process == "":
		return ""
	case slices.Contains(remoteProxies, l.Process):
		return l.Process + " listens here for a container, whose sockets are elsewhere"
	}
	return l.Process + " listens here"
}

// name is what the port is known by, else the process and the port; it fits what the host file accepts.
func (l Listener) name() string {
	name := names[l.Port]
	if name == "" {
		name = fmt.Sprintf("%s-%d", clean(l.Process, string(kindOf(l))), l.Port)
	}
	switch {
	case l.UDP && kindOf(l) == config.KindQUIC:
		name += "-quic"
	case l.UDP:
		name += "-udp"
	}
	return name
}

// clean makes a process name fit for a service name: lower-case letters, digits and dashes. 15 is what the kernel
// keeps of a process name.
func clean(process, otherwise string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, process)
	name = strings.Trim(name, "-")
	if name == "" {
		return otherwise
	}
	return name[:min(len(name), 15)]
}
