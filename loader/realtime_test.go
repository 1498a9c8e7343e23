// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// On a kernel with PREEMPT_RT a packet may interrupt another on its processor: it finds the workspace busy, passes, and
// says so. What was at work gives it back.
func TestBusyWorkspace(t *testing.T) {
	needKernel(t)
	d, err := open(Options{Pins: testPins(t)}, func(s *bpf.Settings) { s.IsRealtime = 1 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	frame := syn("203.0.113.9", "192.0.2.1", 443)
	frame[47] = 0x18 // PSH and ACK
	total := binary.BigEndian.Uint16(frame[16:])
	binary.BigEndian.PutUint16(frame[16:], total+8)
	frame = append(frame, "GET / HT"...)

	workspaces := d.maps[bpf.DataplaneMapWorkspaces]
	busy := func(v uint32) (was uint32) {
		t.Helper()
		rows := make([][]byte, ebpf.MustPossibleCPU())
		if err := workspaces.Lookup(uint32(0), &rows); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			was |= binary.NativeEndian.Uint32(rows[i])
			binary.NativeEndian.PutUint32(rows[i], v)
		}
		if err := workspaces.Put(uint32(0), rows); err != nil {
			t.Fatal(err)
		}
		return was
	}
	for _, c := range []struct {
		busy uint32
		want string
	}{{0, "midstream pass"}, {1, "hello_busy pass"}, {0, "midstream pass"}} {
		before := count(t, d, byReason)[c.want]
		if was := busy(c.busy); c.busy == 1 && was != 0 {
			t.Error("the workspace was not given back")
		}
		wantAction(t, d, c.want, frame, xdpPass)
		if after := count(t, d, byReason)[c.want]; after.packets != before.packets+1 {
			t.Errorf("%s was counted %d times before and %d after", c.want, before.packets, after.packets)
		}
	}
}
