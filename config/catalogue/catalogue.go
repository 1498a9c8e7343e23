// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"slices"

	"github.com/spillway/spillway/config/signature"
)

// Catalogue says whose fingerprints are known: those of TLS clients, and those of the TCP stacks below them. Its
// entries are facts, each with how it was obtained; it judges nobody. One fingerprint belongs to many clients (whoever
// uses the same library, or imitates a browser), and one client has many fingerprints.
type Catalogue struct {
	Clients []KnownClient
	Stacks  []KnownStack

	byJA4, byStable map[signature.JA4][]int // indexes of Clients
}

// KnownClient is a program, in a range of versions that say the same.
type KnownClient struct {
	// Name of the program, as people call it.
	Name string `yaml:"name" jsonschema:"required,maxLength=63"`
	// Versions that were seen to say this; others may.
	Versions string `yaml:"versions" jsonschema:"required,maxLength=63"`
	// Family is the library or browser that the ClientHello is typical of.
	Family string `yaml:"family" jsonschema:"required,enum=chrome,enum=firefox,enum=safari,enum=go,enum=openssl,enum=gnutls,enum=nss,enum=java,enum=node,enum=conscrypt"`
	// Kind of program. An imitation speaks like a family that it is none of.
	Kind string `yaml:"kind" jsonschema:"required,enum=browser,enum=tool,enum=library,enum=crawler,enum=imitation"`
	// Hellos are the ClientHellos of this client. Without a server name (the host was an address) each counts as well.
	Hellos []KnownHello `yaml:"hellos" jsonschema:"required,minItems=1,maxItems=64"`
	// Obtained says how this is known.
	Obtained Obtained `yaml:"obtained" jsonschema:"required"`
}

// KnownHello is one ClientHello of a client.
type KnownHello struct {
	// JA4 of the ClientHello.
	JA4 signature.JA4 `yaml:"ja4" jsonschema:"required"`
	// Raw is JA4_r, the lists that the JA4 is made of; "" where only the JA4 is known.
	Raw string `yaml:"ja4_r" jsonschema:"maxLength=2000"`
	// Stable is the stable JA4. It follows from the lists; without them it may be known or not.
	Stable signature.JA4 `yaml:"stable"`
	// When says on what occasion the client says this, if it has others.
	When string `yaml:"when" jsonschema:"maxLength=100"`
}

// KnownStack is a TCP stack: an operating system, or a program that makes its own packets.
type KnownStack struct {
	// Name of the system or program.
	Name string `yaml:"name" jsonschema:"required,maxLength=63"`
	// Versions that were seen to send this; others may.
	Versions string `yaml:"versions" jsonschema:"required,maxLength=63"`
	// Family is the class of the system; raw is a program without one.
	Family string `yaml:"family" jsonschema:"required,enum=windows,enum=apple,enum=linux,enum=android,enum=raw"`
	// P0F are signatures of p0f v3 for its SYNs.
	P0F []signature.P0F `yaml:"p0f"`
	// MuonFP are strings that were seen, with the window and the MSS of one network.
	MuonFP []signature.MuonFP `yaml:"muonfp"`
	// Obtained says how this is known.
	Obtained Obtained `yaml:"obtained" jsonschema:"required"`
}

// Obtained says how an entry is known: measured by running the program, or published by others.
type Obtained struct {
	// How it became known.
	How string `yaml:"how" jsonschema:"required,enum=measured,enum=published"`
	// Date of the measurement or publication, YYYY-MM-DD; the day may be left out.
	Date string `yaml:"date" jsonschema:"required,pattern=^20[0-9]{2}-[01][0-9](-[0-3][0-9])?$" valid:"a date (2026-11-21 or 2026-11)"`
	// Program that was run, with its version and system.
	Program string `yaml:"program" jsonschema:"maxLength=200"`
	// Command that made it connect.
	Command string `yaml:"command" jsonschema:"maxLength=300"`
	// Source of a publication: who, where.
	Source string `yaml:"source" jsonschema:"maxLength=300"`
}

// ByJA4 returns the clients that are known to send a ClientHello of this JA4; nil for an unknown one.
func (c *Catalogue) ByJA4(ja4 string) []KnownClient { return c.clients(c.byJA4, ja4) }

// ByStableJA4 is ByJA4 for the stable JA4.
func (c *Catalogue) ByStableJA4(stable string) []KnownClient { return c.clients(c.byStable, stable) }

func (c *Catalogue) clients(index map[signature.JA4][]int, ja4 string) []KnownClient {
	j, err := signature.ParseJA4(ja4)
	if err != nil {
		return nil
	}
	var found []KnownClient
	for _, i := range index[j.Named()] {
		found = append(found, c.Clients[i])
	}
	return found
}

// ByTCP returns the stacks that a SYN may come from: those with a signature that fits what p0f would print (seen, read
// by ParseP0F; nil when nobody knows), and those that were seen to send this MuonFP.
func (c *Catalogue) ByTCP(fp signature.MuonFP, seen *signature.P0F) []KnownStack {
	var found []KnownStack
	for _, s := range c.Stacks {
		fits := slices.ContainsFunc(s.MuonFP, func(known signature.MuonFP) bool { return known.String() == fp.String() })
		if fits || seen != nil && slices.ContainsFunc(s.P0F, func(known signature.P0F) bool { return known.Fits(*seen) }) {
			found = append(found, s)
		}
	}
	return found
}

func (c *Catalogue) index() {
	c.byJA4, c.byStable = map[signature.JA4][]int{}, map[signature.JA4][]int{}
	add := func(index map[signature.JA4][]int, j signature.JA4, client int) {
		if j != (signature.JA4{}) && !slices.Contains(index[j.Named()], client) {
			index[j.Named()] = append(index[j.Named()], client)
		}
	}
	for i, client := range c.Clients {
		for _, h := range client.Hellos {
			add(c.byJA4, h.JA4, i)
			add(c.byStable, h.Stable, i)
		}
	}
}
