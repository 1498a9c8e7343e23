// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/bpf"
)

// compilePairs resolves pairs for each combination of families that one SYN may be of.
func compilePairs(b *builder) error {
	b.img.generation.PairCount = uint32(len(b.Pairs))
	for tls := 1; tls < len(tlsFamilies); tls++ {
		for tcp := range int(bpf.TCPFamilies) {
			var rules []uint16
			for _, f := range b.Pairs {
				if f.TLS == tlsFamilies[tls] && tcp&int(tcpFamilies[f.TCP]) != 0 {
					rules = append(rules, b.index[f.Rule])
				}
			}
			if len(rules) == 0 {
				continue
			}
			slices.Sort(rules)
			head, err := b.head(slices.Compact(rules))
			if err != nil {
				return fmt.Errorf("compile the pairs of %s: %w", tlsFamilies[tls], err)
			}
			b.img.generation.Pairs[tcp*int(bpf.TLSFamilies)+tls] = uint16(head)
		}
	}
	return nil
}
