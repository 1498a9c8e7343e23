// SPDX-License-Identifier: Apache-2.0

package feed

import "testing"

func FuzzProbe(f *testing.F) {
	for _, name := range []string{"drop.txt", "tracker.csv", "block.txt", "github.json", "p2p.txt", "semicolons.csv"} {
		f.Add(sample(f, name), true)
		f.Add(sample(f, name)[:50], false)
	}
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		found, err := Probe(data, whole)
		if err == nil && (found == nil || found.Good == 0) {
			t.Fatalf("found %+v", found)
		}
	})
}
