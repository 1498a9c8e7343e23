// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

func compileReasons(b *builder) error {
	same := func(x, y config.ReasonFeature) bool { return x.Reason == y.Reason }
	for features := range equalRuns(b.Reasons, same) {
		f := features[0]
		reason, err := bpf.ParseReason(f.Reason)
		if err != nil {
			return fmt.Errorf("compile reasons: %w", err)
		}
		head, err := b.head(rulesOf(features, b.index, func(f config.ReasonFeature) string { return f.Rule }))
		if err != nil {
			return fmt.Errorf("compile reason %s: %w", f.Reason, err)
		}
		b.img.generation.Reasons[reason] = uint16(head)
	}
	return nil
}
