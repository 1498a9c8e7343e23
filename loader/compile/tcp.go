// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

var (
	tcpMap = Map{Name: bpf.DataplaneMapTcpFingerprints, Room: "tcp_fingerprints", Told: "tcp", form: fingerprints,
		count: func(g *bpf.Generation) *uint32 { return &g.TcpFingerprints }}

	fingerprints = &form[bpf.TCPFingerprint, uint32]{bpf.DataplaneMapTcpFingerprints, "tcp_fingerprints",
		compareFingerprints,
		FormatFingerprint, formatHead}
)

func compileTCP(b *builder) error {
	same := func(x, y config.TCPFeature) bool {
		return fingerprintKey(x.Fingerprint) == fingerprintKey(y.Fingerprint)
	}
	to := fingerprints.of(b.img)
	for features := range equalRuns(b.TCP, same) {
		fp := features[0].Fingerprint
		head, err := b.head(rulesOf(features, b.index, func(f config.TCPFeature) string { return f.Rule }))
		if err != nil {
			return fmt.Errorf("compile tcp fingerprint %s: %w", fp, err)
		}
		to.add(fingerprintKey(fp), head)
	}
	to.sort()
	return nil
}

func compareFingerprints(a, b bpf.TCPFingerprint) int {
	return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.Mss, b.Mss), cmp.Compare(a.Scale, b.Scale),
		cmp.Compare(a.Present, b.Present), cmp.Compare(a.KindCount, b.KindCount), bytes.Compare(a.Kinds[:], b.Kinds[:]))
}

func fingerprintKey(f signature.MuonFP) bpf.TCPFingerprint {
	key := bpf.TCPFingerprint{Window: f.Window, KindCount: uint8(len(f.Kinds))}
	copy(key.Kinds[:], f.Kinds)
	if f.MSS != nil {
		key.Mss = *f.MSS
		key.Present |= uint8(bpf.TCPHasMSS)
	}
	if f.Scale != nil {
		key.Scale = *f.Scale
		key.Present |= uint8(bpf.TCPHasScale)
	}
	return key
}

// FormatFingerprint writes a fingerprint of the kernel as a MuonFP string.
func FormatFingerprint(f bpf.TCPFingerprint) string {
	fp := signature.MuonFP{Window: f.Window, Kinds: f.Kinds[:min(int(f.KindCount), len(f.Kinds))]}
	if f.Present&uint8(bpf.TCPHasMSS) != 0 {
		fp.MSS = &f.Mss
	}
	if f.Present&uint8(bpf.TCPHasScale) != 0 {
		fp.Scale = &f.Scale
	}
	return fp.String()
}
