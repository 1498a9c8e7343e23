// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// digests are those of abi.txt, by what they are of: "root", or the number of an ABI.
func digests(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("abi.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if what, digest, ok := strings.Cut(s.Text(), " "); ok && what != "#" {
			all[what] = digest
		}
	}
	return all
}

func sum(text string) string {
	d := sha256.Sum256([]byte(text))
	return hex.EncodeToString(d[:])
}

// F2: the root never changes. Its instructions, what they refer to, and its maps are those of the first release that
// had it.
func TestF2RootIsForEver(t *testing.T) {
	spec, err := LoadRoot()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	file, err := elf.NewFile(bytes.NewReader(_RootBytes))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range file.Sections {
		if s.Flags&elf.SHF_EXECINSTR == 0 && s.Type != elf.SHT_REL || strings.Contains(s.Name, "BTF") {
			continue
		}
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		if s.Type == elf.SHT_REL { // its symbols have numbers, which mean nothing by themselves
			data = referred(t, file, data)
		}
		fmt.Fprintf(&text, "%s %x\n", s.Name, data)
	}
	writeMaps(&text, spec)
	if got, want := sum(text.String()), digests(t)["root"]; got != want {
		t.Errorf("the root program or its maps changed: digest %s, want %s.\nEvery later build must be able to read the root of every "+
			"earlier one: whatever is new belongs into the dataplane's own folder.\n%s", got, want, text.String())
	}
}

// referred turns relocations into the places and names that they are of.
func referred(t *testing.T, file *elf.File, data []byte) []byte {
	t.Helper()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []byte
	for ; len(data) >= 16; data = data[16:] {
		at, info := file.ByteOrder.Uint64(data), file.ByteOrder.Uint64(data[8:])
		names = fmt.Appendf(names, "%d %s;", at, symbols[info>>32-1].Name)
	}
	return names
}

// F2: what user space and another build read of the dataplane's maps has one layout for each ABI number.
func TestF2LayoutHasItsNumber(t *testing.T) {
	spec, err := LoadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	writeMaps(&text, spec)
	writeKept(&text, spec)
	number := strconv.Itoa(ABIVersion)
	if got, want := sum(text.String()), digests(t)[number]; got != want {
		t.Errorf("maps or types changed: the digest is\n%s %s\nABI number %s had %q. Once a number was released, a change takes the next "+
			"one (bpf/types.h, bpf/names.go) and adds its line to bpf/abi.txt; before that, it changes its line.",
			number, got, number, want)
	}
	if os.Getenv("SPILLWAY_LAYOUT") != "" { // what the digest is of, for a diff
		fmt.Println(text.String())
	}
}

// What a dataplane and the program that asks connection tracking say to each other is for ever: they may be of two
// builds.
func TestConntrackPageIsForEver(t *testing.T) {
	spec, err := LoadConntrack()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	writeMaps(&text, spec)
	if got, want := sum(text.String()), digests(t)["conntrack"]; got != want {
		t.Errorf("bpf/conntrack.h changed: digest %s, want %s. Another page takes another folder of pins.\n%s",
			got, want, text.String())
	}
}

// The constants of names.go are those of the C.
func TestABINumberIsThatOfTheC(t *testing.T) {
	for want, file := range map[string]string{
		fmt.Sprintf("#define ABI_VERSION %d\n", ABIVersion): "types.h",
		fmt.Sprintf("\tSLOTS = %d,\n", Slots):               "types.h",
		fmt.Sprintf("\tSERVICES_MAX = %d,\n", ServicesMax):  "host.h",
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
	root, err := os.ReadFile("root.h")
	if err != nil || !strings.Contains(string(root), fmt.Sprintf("ROOT_MAGIC %#xULL", uint64(RootMagic))) {
		t.Errorf("root.h has another magic than names.go (%v)", err)
	}
}

// writeMaps describes every map but the data sections of one load.
func writeMaps(w *strings.Builder, spec *ebpf.CollectionSpec) {
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		if !strings.HasPrefix(name, ".") {
			writeMap(w, name, spec.Maps[name])
		}
	}
}

func writeMap(w *strings.Builder, name string, m *ebpf.MapSpec) {
	fmt.Fprintf(w, "map %s %s key %d value %d flags %#x", name, m.Type, m.KeySize, m.ValueSize, m.Flags)
	if m.Key != nil {
		fmt.Fprintf(w, " key %s", describe(m.Key, nil))
	}
	if m.Value != nil {
		fmt.Fprintf(w, " value %s", describe(m.Value, nil))
	}
	fmt.Fprintf(w, " entries %d\n", m.MaxEntries)
	if m.InnerMap != nil {
		writeMap(w, name+" inner", m.InnerMap)
	}
}

// writeKept describes what maps.h keeps in BTF because user space reads it.
func writeKept(w *strings.Builder, spec *ebpf.CollectionSpec) {
	kept := map[string]string{}
	for typ, err := range spec.Types.All() {
		if err != nil {
			continue
		}
		if v, ok := typ.(*btf.Var); ok && strings.HasPrefix(v.Name, "keep_") {
			kept[v.Name] = describe(btf.UnderlyingType(v.Type).(*btf.Pointer).Target, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		fmt.Fprintf(w, "%s %s\n", name, kept[name])
	}
}

// describe writes a type with everything in it: names, places and sizes.
func describe(typ btf.Type, within []btf.Type) string {
	typ = btf.UnderlyingType(typ)
	if slices.Contains(within, typ) {
		return "…"
	}
	within = append(slices.Clone(within), typ)
	switch typ := typ.(type) {
	case *btf.Int:
		return fmt.Sprintf("%s%d", typ.Encoding, 8*typ.Size)
	case *btf.Array:
		return fmt.Sprintf("[%d]%s", typ.Nelems, describe(typ.Type, within))
	case *btf.Enum:
		var values []string
		for _, v := range typ.Values {
			values = append(values, fmt.Sprintf("%s=%d", v.Name, v.Value))
		}
		return fmt.Sprintf("enum %s{%s}", typ.Name, strings.Join(values, " "))
	case *btf.Struct:
		return fmt.Sprintf("struct %s/%d%s", typ.Name, typ.Size, describeMembers(typ.Members, within))
	case *btf.Union:
		return fmt.Sprintf("union %s/%d%s", typ.Name, typ.Size, describeMembers(typ.Members, within))
	case *btf.Pointer:
		return "pointer"
	}
	return fmt.Sprintf("%T", typ)
}

func describeMembers(members []btf.Member, within []btf.Type) string {
	var all []string
	for _, m := range members {
		all = append(all, fmt.Sprintf("%s@%d %s", m.Name, m.Offset, describe(m.Type, within)))
	}
	return "{" + strings.Join(all, ", ") + "}"
}
