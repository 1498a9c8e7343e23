// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/spillway/spillway/bpf"
)

// A23: who was delayed does not overwrite what is newer. Somebody changes the word between the look of another and its
// store: the other looks again, and both changes are there.
func TestA23WhoWasDelayedLooksAgain(t *testing.T) {
	d := openTest(t, Options{})
	looks := 0
	got, err := d.Words.swap(func(c Control) (Control, error) {
		if looks++; looks == 1 {
			mode := bpf.Mode(bpf.ModeEnforce)
			if _, err := d.Publish(Change{Mode: &mode}); err != nil {
				return c, err
			}
		}
		c.Host = 3
		return c.changed(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looks != 2 || got != d.Control() || got.Mode != bpf.ModeEnforce || got.Host != 3 || got.Epoch != 2 {
		t.Errorf("after %d looks the word is %+v, and it was told as %+v", looks, d.Control(), got)
	}
}
