// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Image is a bundle compiled for a host: everything that one slot will hold. A pure value; it can be compared with what
// the kernel holds at any time.
type Image struct {
	generation bpf.Generation
	compiled   config.Digest
	nodes      []bpf.RuleNode
	features   map[string]Table // by the name of the map
}

// Empty returns an image without rules.
func Empty() *Image {
	img := &Image{features: map[string]Table{}}
	for _, m := range Maps() {
		img.features[m.Name] = m.form.new()
	}
	return img
}

// Tables returns what the maps of a slot will hold, by their names.
func (img *Image) Tables(c config.Capacity) map[string]Sized {
	out := map[string]Sized{
		bpf.DataplaneMapGenerations: {array[bpf.Generation]{"generation", []bpf.Generation{img.generation}}, 1, false},
		bpf.DataplaneMapRules:       {array[bpf.RuleNode]{"rules", img.nodes}, chainNodes, true},
	}
	for _, m := range Maps() {
		out[m.Name] = Sized{img.features[m.Name], m.Entries(c), m.fitted != nil}
	}
	return out
}

// Counts returns the rules and features, by the names of their capacities.
func (img *Image) Counts() config.Counts { return Counts(&img.generation) }

// Generation returns the head of the generation.
func (img *Image) Generation() bpf.Generation { return img.generation }

// Node returns a node of the chains of rules.
func (img *Image) Node(head uint32) bpf.RuleNode { return img.nodes[head] }

// Number returns the generation's number.
func (img *Image) Number() uint32 { return img.generation.Number }

// Digest returns the bundle's digest.
func (img *Image) Digest() config.Digest { return img.generation.Digest }

// Rows returns how many rows the tables of features have together.
func (img *Image) Rows() int {
	n := 0
	for _, t := range img.features {
		n += t.Len()
	}
	return n
}

// SetSalt gives the canary's choice of sources another salt; 0: the one of the author's digest.
func (img *Image) SetSalt(salt uint64) {
	if salt != 0 {
		img.generation.Salt = salt
	}
}

// CanarySalt is the salt of an attempt at a bundle: the same sources on every host of a fleet, and others the next
// time. Without the fleet's secret, who knows the bundle knows the sources.
func CanarySalt(author config.Digest, attempt int, secret []byte) uint64 {
	sum := sha256.Sum256(append(binary.LittleEndian.AppendUint64(author[:], uint64(attempt)), secret...))
	return binary.LittleEndian.Uint64(sum[:8]) | 1 // 0 is none
}

// Compiled returns the digest of what this host compiled: the bundle's own where nothing was left out of it.
func (img *Image) Compiled() config.Digest { return img.compiled }

// Bundle compiles a validated bundle, as config.Bundle.LeaveOut returns it for this host. Expiries are turned into
// the kernel's clock as of now. The canary's salt comes from the author's digest, so that it is the same on every host.
func Bundle(b *config.Bundle, host *HostImage, number uint32, now Clock) (_ *Image, err error) {
	if len(b.Rules) > 65535 {
		return nil, fmt.Errorf("%d rules: %w: at most 65535", len(b.Rules), ErrCapacity)
	}
	index := make(map[string]uint16, len(b.Rules))
	for i, r := range b.Rules {
		index[r.ID] = uint16(i)
	}
	img := Empty()
	img.generation = bpf.Generation{
		Number:      number,
		RuleCount:   uint32(len(b.Rules)),
		Digest:      b.Digest,
		Salt:        binary.LittleEndian.Uint64(b.Digest[:8]),
		BuiltUnixNs: uint64(now.Wall.UnixNano()),
	}
	if img.compiled = b.Compiled; img.compiled.IsZero() {
		img.compiled = b.Digest
	}
	img.compilePolicies(b, host)
	build := &builder{Bundle: b, index: index, chains: newChains(b, now), img: img}
	if build.known, err = knownFor(b); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if err := k.compile(build); err != nil {
			return nil, err
		}
		for _, m := range k.maps {
			if m.count == nil {
				continue
			}
			*m.count(&img.generation) = uint32(img.features[m.Name].Len())
			if m.features != nil {
				*m.count(&img.generation) = uint32(m.features(build))
			}
		}
	}
	img.nodes = build.chains.nodes
	img.decideAlone(now)
	img.generation.Allowlist = uint32(len(host.allowlist.keys))
	img.generation.Host = host.takenBy(b.Host)
	return img, nil
}

// equalRuns splits sorted features where they differ: in a set several bundles may name the same thing, and their rules
// add up.
func equalRuns[F any](features []F, same func(x, y F) bool) iter.Seq[[]F] {
	return func(yield func([]F) bool) {
		for from := 0; from < len(features); {
			to := from + 1
			for to < len(features) && same(features[from], features[to]) {
				to++
			}
			if !yield(features[from:to]) {
				return
			}
			from = to
		}
	}
}

func rulesOf[F any](features []F, index map[string]uint16, rule func(F) string) []uint16 {
	out := make([]uint16, 0, len(features))
	for _, f := range features {
		out = append(out, index[rule(f)])
	}
	return out
}
