// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// word finds a text among words and stores its place.
func word(words []string, text []byte, to *uint8) error {
	for i, w := range words {
		if w == string(text) {
			*to = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %q", text, words)
}

// percent writes a share for people: three digits are enough.
func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// many writes a count with its noun.
func many(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// span writes a time for people: 10m, 24h, 1h30m.
func span(d time.Duration) string {
	text := d.String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = strings.TrimSuffix(text, none[1:])
		}
	}
	return text
}

func itoa(n int) string { return strconv.Itoa(n) }
