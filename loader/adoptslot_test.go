// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// tasted builds a bundle as a child does, and returns what it says of it.
func tasted(t *testing.T, d *Dataplane, pins string) (Tasted, *compile.Image) {
	t.Helper()
	_, img := compiled(t, d, testHost(), testBundle("203.0.113.0/24", "2001:db8::/32"))
	folder := filepath.Join(pins, "taste", "r-1")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(folder)) })
	tables, err := BuildTables(img, d.capacity)
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	if err := tables.Pin(folder); err != nil {
		t.Fatal(err)
	}
	return Tasted{Folder: folder, Number: img.Number(), Digest: img.Digest(), Sums: img.Sums()}, img
}

func TestAdoptPutsWhatAnotherBuilt(t *testing.T) {
	pins := testPins(t)
	d := openTest(t, Options{Pins: pins})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	before := d.Control()
	built, img := tasted(t, d, pins)
	slot, err := d.Adopt(built)
	if err != nil {
		t.Fatal(err)
	}
	if d.Control() != before || slot == before.Stable {
		t.Fatalf("slot %d, %+v", slot, d.Control())
	}
	if err := os.RemoveAll(built.Folder); err != nil {
		t.Fatal(err)
	}
	if drifts, err := d.VerifyGeneration(slot, img); err != nil || len(drifts) > 0 {
		t.Errorf("read back: %+v, %v", drifts, err)
	}
	if _, err := d.Publish(Change{Stable: &slot}); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "what it blocks", syn("203.0.113.1", "192.0.2.1", 443), xdpDrop)
	wantAction(t, d, "what it does not", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	if drifts, err := d.VerifyWiring(); err != nil || len(drifts) > 0 {
		t.Errorf("wiring: %+v, %v", drifts, err)
	}
	if missing, err := d.missingPins(); err != nil || len(missing) > 0 {
		t.Errorf("pins: %v, %v", missing, err)
	}
}

// Whatever a child pinned that is not what a slot may hold, or not what it said: nothing is put.
func TestA09AdoptBelievesNothing(t *testing.T) {
	pins := testPins(t)
	d := openTest(t, Options{Pins: pins})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	const prefixes = bpf.DataplaneMapPrefixes4
	for _, row := range []struct {
		name  string
		spoil func(t *testing.T, b *Tasted, img *compile.Image)
		says  string
	}{
		{"another number", func(_ *testing.T, b *Tasted, _ *compile.Image) { b.Number++ }, "it is generation"},
		{"another digest", func(_ *testing.T, b *Tasted, _ *compile.Image) { b.Digest[0]++ }, "it is generation"},
		{"another sum", func(_ *testing.T, b *Tasted, _ *compile.Image) { b.Sums[prefixes] += "0" }, prefixes + ": want"},
		{"a map that it did not tell", func(_ *testing.T, b *Tasted, _ *compile.Image) { delete(b.Sums, prefixes) },
			prefixes + ": want"},
		{"a map less", func(t *testing.T, b *Tasted, _ *compile.Image) { mustRemove(t, b, prefixes) },
			"there is no " + prefixes},
		{"a map less, and untold", func(t *testing.T, b *Tasted, _ *compile.Image) {
			mustRemove(t, b, prefixes)
			delete(b.Sums, prefixes)
		}, "it says that it has 1 prefixes_v4"},
		{"no head", func(t *testing.T, b *Tasted, _ *compile.Image) {
			mustRemove(t, b, generationMaps[0])
			delete(b.Sums, generationMaps[0])
		}, "there is no " + generationMaps[0]},
		{"nothing", func(_ *testing.T, b *Tasted, _ *compile.Image) { b.Folder += "/none"; b.Sums = nil }, "there is no"},
		{"a row less", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(*ebpf.MapSpec) {}, func(m *ebpf.Map) {
				var page bpf.PrefixPage
				const address = 203<<24 | 113<<8
				page.Words[address>>bpf.PrefixKey4%bpf.PrefixPageWords] = 0
				mustDo(t, m.Put(uint32(address>>bpf.PrefixKey4/bpf.PrefixPageWords), &page), m.Freeze())
			})
		}, prefixes + ": want"},
		{"more room", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(s *ebpf.MapSpec) { s.MaxEntries++ }, freeze(t))
		}, prefixes + ": want"},
		{"more room than the host has", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(s *ebpf.MapSpec) {
				s.MaxEntries = uint32(img.Tables(d.capacity)[prefixes].Max) + 1
			}, freeze(t))
		}, "MaxEntries"},
		{"other flags", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(s *ebpf.MapSpec) { s.Flags &^= unix.BPF_F_RDONLY_PROG }, freeze(t))
		}, "Flags"},
		{"another type", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(s *ebpf.MapSpec) { s.Type, s.Flags = ebpf.Hash, 0 }, freeze(t))
		}, "Type"},
		{"one that can be written", func(t *testing.T, b *Tasted, img *compile.Image) {
			again(t, d, b, img, prefixes, func(*ebpf.MapSpec) {}, func(*ebpf.Map) {})
		}, "can be written"},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			built, img := tasted(t, d, pins)
			row.spoil(t, &built, img)
			before, all := d.Control(), generations(t, d)
			_, err := d.Adopt(built)
			if !errors.Is(err, ErrWrongTable) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
			if now := generations(t, d); d.Control() != before || now != all {
				t.Errorf("%d generations are resident, were %d", now, all)
			}
		})
	}
}

func generations(t *testing.T, d *Dataplane) int {
	t.Helper()
	all, err := d.Generations()
	mustDo(t, err)
	return len(all)
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t *testing.T, b *Tasted, name string) {
	t.Helper()
	mustDo(t, os.Remove(filepath.Join(b.Folder, name)))
}

func freeze(t *testing.T) func(*ebpf.Map) {
	return func(m *ebpf.Map) { mustDo(t, m.Freeze()) }
}

// again pins another map in the place of one that was built, with the same rows.
func again(t *testing.T, d *Dataplane, b *Tasted, img *compile.Image, name string, change func(*ebpf.MapSpec),
	then func(*ebpf.Map)) {
	t.Helper()
	table := img.Tables(d.capacity)[name]
	spec := d.inner[name].Copy()
	spec.MaxEntries = uint32(table.Size())
	change(spec)
	m, err := ebpf.NewMap(spec)
	mustDo(t, err)
	defer m.Close()
	mustDo(t, table.Write(kernel.Into(m)))
	mustRemove(t, b, name)
	mustDo(t, m.Pin(filepath.Join(b.Folder, name)))
	then(m)
}
