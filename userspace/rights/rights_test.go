// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"os"
	"strings"
	"testing"
)

// What people read says the same as the list.
func TestTheReadmeNamesTheRights(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(data)), " ")
	if !strings.Contains(text, Sentence()) {
		t.Errorf("README.md does not say %q", Sentence())
	}
}

func TestMask(t *testing.T) {
	if got, want := Mask(), uint64(1<<39|1<<12|1<<38); got != want { // linux/capability.h
		t.Errorf("mask is %#x, want %#x", got, want)
	}
}
