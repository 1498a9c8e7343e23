// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"maps"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Context is what a generation takes from the host file that it was compiled for. A later host file may know other
// services; whoever compiles the same image again, to verify a generation, needs the context of then.
type Context struct {
	Services  map[string]uint8        // ids by name
	Terms     map[string]config.Terms // of these services, by name
	Allowlist int                     // rows
	Host      uint32                  // number that the generation has of it; 0: it is behind
}

// Context returns what a generation compiled for this host file, and for a change of it or none, takes from it.
func (img *HostImage) Context(change config.Digest) Context {
	c := Context{Services: map[string]uint8{}, Terms: maps.Clone(img.terms), Allowlist: img.Protected(),
		Host: img.takenBy(change)}
	for id, s := range img.host.Services {
		if s.Tag != 0 {
			c.Services[ServiceName(s)] = uint8(id)
		}
	}
	return c
}

// Image returns a host image of that context. It serves Bundle only and must not be built.
func (c Context) Image() *HostImage {
	img := emptyHost()
	img.taken, img.terms = c.Host, c.Terms
	for name, id := range c.Services {
		if int(id) >= len(img.host.Services) {
			continue // not of a host file
		}
		s := bpf.Service{Tag: ServiceTag(name)}
		copy(s.Name[:len(s.Name)-1], name)
		img.host.Services[id] = s
	}
	img.allowlist.keys = make([]bpf.Prefix6Key, min(max(c.Allowlist, 0), 1<<20))
	return img
}
