// SPDX-License-Identifier: Apache-2.0

package fresh

import (
	"os"
	"strconv"
	"testing"
)

// Number reads what a random test is told by the environment: a seed, or how much of it there shall be.
func Number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
