// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/plane"
)

// rivalObject is what Debian's xdp-tools installs for `xdp-filter load --policy allow`.
const rivalObject = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o"

// rival is a packet that xdp-filter treats otherwise than it should, and the rule that both have.
type rival struct {
	packet string
	frame  packet.Frame
	rule   string
	column string // of ours
	right  string
	rival  string
}

const (
	denySource = "deny the source"
	denyOther  = "deny another source"
	denyPort   = "deny TCP to the port (here: deny the source)"
)

var rivals = rivalRows()

func rivalRows() []rival {
	var all []rival
	add := func(name string, f packet.Frame, rule, rivalAction string) {
		column, right := "ban", "XDP_DROP"
		if rule == denyOther {
			column, right = "neither", "XDP_PASS"
		}
		all = append(all, rival{name, f, rule, column, right, rivalAction})
	}
	for _, n := range []int{4, 5, 6} {
		f := withBody(plain4, syn)
		f.Tags = packet.Tags(n, packet.EtherVLAN)
		action := "**XDP_PASS**"
		if n == 4 {
			action = "XDP_DROP"
		}
		add(map[int]string{4: "SYN behind 4 tags", 5: "SYN behind 5 tags", 6: "SYN behind 6 tags"}[n], f, denySource, action)
	}
	five, six := withBody(plain6, syn), withBody(plain6, syn)
	five.Extensions, six.Extensions = packet.Extensions(5, packet.DestOptions), packet.Extensions(6, packet.DestOptions)
	add("SYN behind 5 extension headers", five, denyOther, "XDP_PASS")
	add("SYN behind 6 extension headers", six, denyOther, "**XDP_ABORTED**")
	add("SYN behind 6 extension headers", six, denySource, "**XDP_ABORTED**")
	first := part(plain4, syn.Body, 0, 8, true)
	add("first fragment of 8 bytes", first, denyOther, "**XDP_ABORTED**")
	add("first fragment of 8 bytes", first, denySource, "XDP_DROP")
	two := withBody(plain4, syn)
	two.Bent.HeaderWords = new(uint8(2))
	add("SYN, IHL 2", two, denyPort, "**XDP_PASS**")
	short := withBody(plain4, body{Body: packet.Raw{Protocol: packet.ProtoTCP, Data: []byte{0x9c, 0x40, 1}}})
	add("TCP header of 3 bytes", short, denyOther, "**XDP_ABORTED**")
	return all
}

// TestRivalRowsAreOurs proves the last column: what is right is what Spillway does.
func TestRivalRowsAreOurs(t *testing.T) {
	p := compare.OpenFor(t, compare.AsShipped)
	for _, col := range columns() {
		m := oracle.NewModel(col.world)
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(&m.World); err != nil {
			t.Fatal(err)
		}
		for _, row := range rivals {
			if row.column != col.name {
				continue
			}
			action, _, err := p.Run(row.frame.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if got := compare.ActionName(action); got != row.right {
				t.Errorf("%s, %s: %s, want %s", row.packet, row.rule, got, row.right)
			}
		}
	}
}

// TestRivalRowsAreTrue runs xdp-filter on the same packets.
func TestRivalRowsAreTrue(t *testing.T) {
	plane.Need(t)
	if _, err := os.Stat(rivalObject); err != nil {
		t.Skipf("left out: xdp-filter is not installed (apt install xdp-tools): %v", err)
	}
	spec, err := ebpf.LoadCollectionSpec(rivalObject)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer c.Close()
	program := c.Programs["xdpfilt_alw_all"]
	if program == nil {
		t.Fatalf("%s holds other programs than xdpfilt_alw_all", rivalObject)
	}
	for _, row := range rivals {
		setRule(t, c, row.rule)
		b := row.frame.Bytes()
		action, err := program.Run(&ebpf.RunOptions{Data: b, DataOut: make([]byte, len(b)+256)})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := compare.ActionName(action), row.rival; got != want && "**"+got+"**" != want {
			t.Errorf("%s, %s: xdp-filter says %s, the page %s", row.packet, row.rule, got, want)
		}
	}
}

// setRule sets what `xdp-filter ip -m src` and `xdp-filter port -m dst -p tcp` set: bits of the value of an address or
// a port say what it must be.
func setRule(t *testing.T, c *ebpf.Collection, rule string) {
	t.Helper()
	const asSource, asTCPDestination = 1, 2 | 4
	port := binary.NativeEndian.Uint16([]byte{webPort >> 8, webPort & 0xff}) // as on the wire
	for _, entry := range []struct {
		name string
		key  any
		rule string
		bits uint64
	}{
		{"filter_ipv4", source4.As4(), denySource, asSource},
		{"filter_ipv6", source6.As16(), denySource, asSource},
		{"filter_ports", uint32(port), denyPort, asTCPDestination},
	} {
		values := make([]uint64, ebpf.MustPossibleCPU())
		for i := range values {
			if rule == entry.rule {
				values[i] = entry.bits
			}
		}
		if err := c.Maps[entry.name].Put(entry.key, values); err != nil {
			t.Fatalf("set a rule of xdp-filter: %v", err)
		}
	}
}
