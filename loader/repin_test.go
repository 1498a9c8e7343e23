// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
)

// Somebody removes pins below a running agent. What it holds is pinned again, with everything in it.
func TestRepin(t *testing.T) {
	for _, row := range []struct {
		name   string
		remove func(p pins.Folder) string
	}{
		{"everything", func(p pins.Folder) string { return p.Path }},
		{"this version", func(p pins.Folder) string { return p.Base() }},
		{"one map", func(p pins.Folder) string { return filepath.Join(p.Maps(), bpf.DataplaneMapWords) }},
		{"the programs", func(p pins.Folder) string { return p.Pairs() }},
		{"the slots", func(p pins.Folder) string { return filepath.Join(p.Base(), "slots") }},
		{"the root", func(p pins.Folder) string { return p.RootFolder() }},
		{"the root program", func(p pins.Folder) string { return p.RootProgram() }},
		{"the root's words", func(p pins.Folder) string { return p.RootWords() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := testPins(t)
			d := openTest(t, Options{Pins: folder})
			publish(t, d, testHost(), testBundle("198.51.100.0/24"))
			if err := d.Ban(netip.MustParsePrefix("203.0.113.9/32"), time.Hour); err != nil {
				t.Fatal(err)
			}
			before := d.Control()
			if n, err := d.Repin(); n != 0 || err != nil {
				t.Fatalf("with all pins there: %d, %v", n, err)
			}
			if err := os.RemoveAll(row.remove(pins.Folder{Path: folder})); err != nil {
				t.Fatal(err)
			}
			drifts, err := d.VerifyWiring()
			if err != nil || len(drifts) != 1 || drifts[0].Where != compile.WherePins {
				t.Errorf("drift %+v, %v", drifts, err)
			}
			if n, err := d.Repin(); n == 0 || err != nil {
				t.Fatalf("%d pinned again, %v", n, err)
			}
			if drifts, err := d.VerifyWiring(); err != nil || len(drifts) != 0 {
				t.Errorf("afterwards: %+v, %v", drifts, err)
			}
			again, err := Adopt(folder)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = again.Close() }()
			bans, err := again.Bans()
			if err != nil || len(bans) != 1 || again.Control() != before {
				t.Errorf("bans %v, %v; control %+v, was %+v", bans, err, again.Control(), before)
			}
		})
	}
}
