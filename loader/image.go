// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

// Image is a bundle compiled for a host: everything that one slot will hold. A pure value; it can be compared with what
// the kernel holds at any time.
type Image struct {
	generation bpf.Generation
	compiled   config.Digest
	nodes      []bpf.RuleNode
	prefixes4  heads[bpf.Prefix4Key]
	prefixes6  heads[bpf.Prefix6Key]
	tcp        heads[bpf.TCPFingerprint]
	ja4s       heads[bpf.JA4Key]
	layouts    rows[bpf.TCPLayout, bpf.TCPSignatures]
}

// Number returns the generation's number.
func (img *Image) Number() uint32 { return img.generation.Number }

// Digest returns the bundle's digest.
func (img *Image) Digest() config.Digest { return img.generation.Digest }

// Rows returns how many rows the tables of features have together.
func (img *Image) Rows() int {
	return len(img.prefixes4.keys) + len(img.prefixes6.keys) + len(img.tcp.keys) + len(img.ja4s.keys) + len(img.layouts.keys)
}

// Compiled returns the digest of what this host compiled: the bundle's own where nothing was left out of it.
func (img *Image) Compiled() config.Digest { return img.compiled }

// CompileBundle compiles a validated bundle, as config.Bundle.LeaveOut returns it for this host. Expiries are turned into
// the kernel's clock as of now. The canary's salt comes from the author's digest, so that it is the same on every host.
func CompileBundle(b *config.Bundle, host *HostImage, number uint32, now Clock) (*Image, error) {
	if len(b.Rules) > 65535 {
		return nil, fmt.Errorf("%d rules: %w: at most 65535", len(b.Rules), ErrCapacity)
	}
	index := make(map[string]uint16, len(b.Rules))
	for i, r := range b.Rules {
		index[r.ID] = uint16(i)
	}
	img := &Image{generation: bpf.Generation{
		Number:      number,
		RuleCount:   uint32(len(b.Rules)),
		Digest:      b.Digest,
		Salt:        binary.LittleEndian.Uint64(b.Digest[:8]),
		BuiltUnixNs: uint64(now.Wall.UnixNano()),
	}}
	if img.compiled = b.Compiled; img.compiled.IsZero() {
		img.compiled = b.Digest
	}
	img.compilePolicies(b, host)
	c := newChains(b.Rules, now)
	for _, compile := range []func(*config.Bundle, map[string]uint16, *chains) error{
		img.compilePrefixes, img.compileTCP, img.compileJA4s, img.compileSignatures, img.compileReasons,
	} {
		if err := compile(b, index, c); err != nil {
			return nil, err
		}
	}
	img.nodes = c.nodes
	img.generation.Prefixes4 = uint32(len(img.prefixes4.keys))
	img.generation.Prefixes6 = uint32(len(img.prefixes6.keys))
	img.generation.TcpFingerprints = uint32(len(img.tcp.keys))
	img.generation.Ja4s = uint32(len(img.ja4s.keys))
	img.generation.TcpSignatures = uint32(countSignatures(b.P0F))
	img.generation.Allowlist = uint32(len(host.allowlist.keys))
	return img, nil
}

// compilePolicies leaves a reset out where no socket of this host can say whose connection it is.
func (img *Image) compilePolicies(b *config.Bundle, host *HostImage) {
	for id, s := range host.host.Services {
		if s.Tag == 0 {
			continue
		}
		p := b.PolicyFor(serviceName(s))
		img.generation.Policies[id] = bpf.Policy{Tag: s.Tag, Drop: uint8(p.Drop)}
		if host.resets[id] {
			img.generation.Policies[id].Reset = uint8(p.Reset)
		}
		img.generation.Policies[id].Flags = host.fragmentFlags(b, id)
	}
}

func (img *Image) compilePrefixes(b *config.Bundle, index map[string]uint16, c *chains) error {
	err := flatten(b.Prefixes, index, c, func(p netip.Prefix, head uint32) {
		if p.Addr().Is4() {
			key := bpf.Prefix4Key{Prefixlen: uint32(p.Bits()), Addr: mapped(p.Addr())[3]}
			img.prefixes4.add(key, head)
		} else {
			img.prefixes6.add(key6(p), head)
		}
	})
	if err != nil {
		return fmt.Errorf("compile prefixes: %w", err)
	}
	img.prefixes4.sort(comparePrefix4)
	img.prefixes6.sort(comparePrefix6)
	return nil
}

func (img *Image) compileTCP(b *config.Bundle, index map[string]uint16, c *chains) error {
	same := func(x, y config.TCPFeature) bool {
		return fingerprintKey(x.Fingerprint) == fingerprintKey(y.Fingerprint)
	}
	for features := range equalRuns(b.TCP, same) {
		fp := features[0].Fingerprint
		head, err := c.head(rulesOf(features, index, func(f config.TCPFeature) string { return f.Rule })...)
		if err != nil {
			return fmt.Errorf("compile tcp fingerprint %s: %w", fp, err)
		}
		img.tcp.add(fingerprintKey(fp), head)
	}
	img.tcp.sort(compareFingerprints)
	return nil
}

func (img *Image) compileReasons(b *config.Bundle, index map[string]uint16, c *chains) error {
	for features := range equalRuns(b.Reasons, func(x, y config.ReasonFeature) bool { return x.Reason == y.Reason }) {
		f := features[0]
		reason, err := bpf.ParseReason(f.Reason)
		if err != nil {
			return fmt.Errorf("compile reasons: %w", err)
		}
		head, err := c.head(rulesOf(features, index, func(f config.ReasonFeature) string { return f.Rule })...)
		if err != nil {
			return fmt.Errorf("compile reason %s: %w", f.Reason, err)
		}
		img.generation.Reasons[reason] = uint16(head)
	}
	return nil
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

func fingerprintKey(f signature.MuonFP) bpf.TCPFingerprint {
	key := bpf.TCPFingerprint{Window: f.Window, KindCount: uint8(len(f.Kinds))}
	copy(key.Kinds[:], f.Kinds)
	if f.MSS != nil {
		key.Mss = *f.MSS
		key.Present |= uint8(bpf.DataplaneTcpPresentTCP_HAS_MSS)
	}
	if f.Scale != nil {
		key.Scale = *f.Scale
		key.Present |= uint8(bpf.DataplaneTcpPresentTCP_HAS_SCALE)
	}
	return key
}

// FormatFingerprint writes a fingerprint of the kernel as a MuonFP string.
func FormatFingerprint(f bpf.TCPFingerprint) string {
	fp := signature.MuonFP{Window: f.Window, Kinds: f.Kinds[:min(int(f.KindCount), len(f.Kinds))]}
	if f.Present&uint8(bpf.DataplaneTcpPresentTCP_HAS_MSS) != 0 {
		fp.MSS = &f.Mss
	}
	if f.Present&uint8(bpf.DataplaneTcpPresentTCP_HAS_SCALE) != 0 {
		fp.Scale = &f.Scale
	}
	return fp.String()
}
