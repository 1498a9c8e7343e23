// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
)

// The bots among the visitors, and the system that they run on, as the catalogue calls them.
const (
	pythonName = "Python http.client"
	goName     = "Go net/http"
	mimicName  = "uTLS as Chrome 133"
	linuxName  = "Linux"
)

// linuxScore is what a SYN of Linux counts: little, because visitors have one, too. Chrome's ClientHello of 2025 counts
// what is missing to a drop, so that only both together are one.
const linuxScore = 10

// LinuxScore is for the bundle's template.
func (known) LinuxScore() int { return linuxScore }

// known is what the catalogue says of the bots: what the bundle's features are made of.
type known struct {
	// Python's ClientHello with its first part open: with any ALPN, with a server name or without.
	Python signature.JA4
	// Go's, and the one that uTLS copies: exact.
	Go, Chrome signature.JA4
	// Linux are the SYNs of Linux, as p0f signatures.
	Linux []string
}

func loadKnown() (k known, err error) {
	known, err := catalogue.Load()
	if err != nil {
		return k, fmt.Errorf("load the catalogue of known clients: %w", err)
	}
	for _, c := range []struct {
		name string
		to   *signature.JA4
	}{{pythonName, &k.Python}, {goName, &k.Go}, {mimicName, &k.Chrome}} {
		i := slices.IndexFunc(known.Clients, func(k catalogue.KnownClient) bool { return k.Name == c.name })
		if i < 0 {
			return k, fmt.Errorf("the catalogue knows no %s", c.name)
		}
		*c.to = known.Clients[i].Hellos[0].JA4
	}
	k.Python.A = ""
	for _, s := range known.Stacks {
		for _, p := range s.P0F {
			if text := p.String(); s.Name == linuxName && !slices.Contains(k.Linux, text) {
				k.Linux = append(k.Linux, text)
			}
		}
	}
	return k, nil
}
