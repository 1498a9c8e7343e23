// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"sync"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
)

// Rows that the catalogue may add to the tables of a generation. A test holds the catalogue to them.
const (
	knownJA4sMax    = 1024
	knownLayoutsMax = 128
	kindsMax        = 255
)

// tlsFamilies by their numbers in the kernel.
var tlsFamilies = [...]string{"", "chrome", "firefox", "safari", "go", "openssl", "gnutls", "nss", "java", "node",
	"conscrypt"}

var tcpFamilies = map[string]uint8{"windows": uint8(bpf.FamilyWindows), "apple": uint8(bpf.FamilyApple),
	"linux": uint8(bpf.FamilyLinux), "android": uint8(bpf.FamilyAndroid), "raw": uint8(bpf.FamilyRaw)}

// known is what the catalogue says of ClientHellos and SYNs.
type known struct {
	hellos  []knownHello // each JA4 once
	layouts map[bpf.TCPLayout][4]uint8
}

// knownHello is a JA4 that one family sends, and its stable JA4 where that is known.
type knownHello struct {
	ja4, stable signature.JA4
	family      uint8
	kind        uint8 // of client; 0: only imitations send it
}

var loadKnown = sync.OnceValues(func() (*known, error) {
	c, err := catalogue.Load()
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return newKnown(c), nil
})

// knownFor returns what the catalogue says, where a bundle asks: for pairs, and for limits that are larger for an
// address that many share. Else it knows nothing.
func knownFor(b *config.Bundle) (*known, error) {
	asks := len(b.Pairs) > 0
	for _, p := range b.Policy {
		asks = asks || p.Rate.Shared > 1 && p.Rate.By != config.LimitByPrefix
	}
	if !asks {
		return &known{}, nil
	}
	return loadKnown()
}

func newKnown(c *catalogue.Catalogue) *known {
	k := &known{layouts: map[bpf.TCPLayout][4]uint8{}}
	at := map[signature.JA4]int{}
	for i, client := range c.Clients {
		family := uint8(max(slices.Index(tlsFamilies[:], client.Family), 0)) // a test finds one that is missing
		kind := uint8(i%kindsMax + 1)
		if client.Kind == "imitation" {
			kind = 0
		}
		for _, h := range client.Hellos {
			for _, hello := range []knownHello{{h.JA4, h.Stable, family, kind},
				{h.JA4.Unnamed(), h.Stable.Unnamed(), family, kind}} {
				n, ok := at[hello.ja4]
				switch {
				case !ok:
					at[hello.ja4] = len(k.hellos)
					k.hellos = append(k.hellos, hello)
				case k.hellos[n].family != family:
					k.hellos[n].family = 0 // of two families it is none's
				case k.hellos[n].kind == 0:
					k.hellos[n].kind = kind
				}
			}
		}
	}
	for _, stack := range c.Stacks {
		for _, s := range stack.P0F {
			for _, version := range s.Versions() {
				row := k.layouts[layoutKey(version, s)]
				row[ttlClass(s.TTL)] |= tcpFamilies[stack.Family]
				k.layouts[layoutKey(version, s)] = row
			}
		}
	}
	return k
}

// ttlClass is the place of a TTL that systems send with, as match_signature has it.
func ttlClass(ttl uint8) int {
	switch {
	case ttl <= 64:
		return 0
	case ttl <= 128:
		return 1
	}
	return 2
}

// addKnown adds the JA4s of the catalogue to the rows of the features, each with the chain that a ClientHello of it had
// before: a row must not hide a broader feature.
func (b *builder) addKnown(to *rows[bpf.JA4Key, uint32]) {
	heads := map[bpf.JA4Key]int{}
	hasStable := false
	for i, key := range to.keys {
		heads[key] = i
		hasStable = hasStable || key.Form&uint8(bpf.JA4FormStable) != 0
	}
	features := len(to.keys)
	for _, h := range b.known.hellos {
		value := uint32(h.family)<<bpf.ValueFamily | uint32(h.kind)<<bpf.ValueKind
		key := ja4Key(config.JA4Feature{Match: h.ja4})
		if i, ok := heads[key]; ok && i < features {
			to.values[i] |= value
			continue
		}
		if hasStable && h.stable == (signature.JA4{}) {
			continue // nobody knows which feature it would have met
		}
		for _, form := range bpf.JA4Forms {
			if i, ok := heads[formOf(uint8(form), h)]; ok && i < features {
				value |= to.values[i] & 0xffff
				break
			}
		}
		heads[key] = len(to.keys)
		to.add(key, value)
		b.img.generation.Ja4Forms |= 1 << key.Form
	}
}

// formOf returns the key of a form for a ClientHello.
func formOf(form uint8, h knownHello) bpf.JA4Key {
	f := config.JA4Feature{Match: h.ja4, Stable: form&uint8(bpf.JA4FormStable) != 0}
	if f.Stable {
		f.Match = h.stable
	}
	if form&uint8(bpf.JA4FormA) == 0 {
		f.Match.A = ""
	}
	if form&uint8(bpf.JA4FormB) == 0 {
		f.Match.B = ""
	}
	if form&uint8(bpf.JA4FormC) == 0 {
		f.Match.C = ""
	}
	key := ja4Key(f)
	key.Form = form
	return key
}
