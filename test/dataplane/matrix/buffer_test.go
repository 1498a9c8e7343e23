// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"testing"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/packet"
)

// A jumbo frame arrives in several buffers (4 KiB less head and tail room in a program run). Headers in the second are
// read as those in the first: nothing is hidden there, and nothing is dropped by itself.
func TestHeadersInTheSecondBuffer(t *testing.T) {
	p := compare.OpenFor(t, compare.AsShipped)
	f := withBody(plain6, syn)
	for range 2 {
		f.Extensions = append(f.Extensions, packet.Extension{Kind: packet.DestOptions, Data: make([]byte, 2046)})
	}
	for _, col := range columns() {
		m := oracle.NewModel(col.world)
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(&m.World); err != nil {
			t.Fatal(err)
		}
		action, _, err := p.Run(f.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want := uint32(compare.Pass)
		if m.Decide(f.Bytes()).Drops() {
			want = compare.Drop
		}
		if action != want {
			t.Errorf("%s: %s, want %s", col.name, compare.ActionName(action), compare.ActionName(want))
		}
	}
}
