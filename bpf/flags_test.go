// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import (
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

var (
	flagDefine = regexp.MustCompile(`(?m)^#define ([A-Z]+)_([A-Z_]+) \(1U << (\d+)\)$`)
	flagEnum   = regexp.MustCompile(`(?s)enum (\w+_(?:flags|hints)) \{(.*?)\n\};`)
	flagMember = regexp.MustCompile(`(?m)^\t([A-Z_0-9]+) =\s+(0x[0-9a-f]+|\d+),`)
)

// Two flags of one word with one bit are one flag: what asks for the one finds the other.
func TestFlagsHaveABitEach(t *testing.T) {
	headers, err := filepath.Glob("*.h")
	if err != nil {
		t.Fatal(err)
	}
	defines, enums := 0, 0
	for _, header := range headers {
		text, err := os.ReadFile(header)
		if err != nil {
			t.Fatal(err)
		}
		taken := map[string]string{} // by word and bit
		for _, m := range flagDefine.FindAllStringSubmatch(string(text), -1) {
			defines++
			if other := taken[m[1]+m[3]]; other != "" {
				t.Errorf("%s: %s_%s and %s have bit %s", header, m[1], m[2], other, m[3])
			}
			taken[m[1]+m[3]] = m[1] + "_" + m[2]
		}
		for _, e := range flagEnum.FindAllStringSubmatch(string(text), -1) {
			enums++
			var seen uint64
			for _, m := range flagMember.FindAllStringSubmatch(e[2], -1) {
				value, err := strconv.ParseUint(m[2], 0, 64)
				if err != nil {
					t.Fatal(err)
				}
				if bits.OnesCount64(value) == 1 && seen&value != 0 { // of more bits it is a mask
					t.Errorf("%s: enum %s: %s has the bit of another", header, e[1], m[1])
				}
				seen |= value
			}
		}
	}
	if defines < 25 || enums < 3 {
		t.Errorf("%d flags by #define and %d enums were looked at: this test reads another style", defines, enums)
	}
}
