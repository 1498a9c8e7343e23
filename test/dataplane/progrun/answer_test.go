// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// Where an answer would not leave, a reset is a drop: the first payload and what follows it, and observed as such.
func TestResetWithoutAnswersIsADrop(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.publish(f.plain(), f.resetBots())
		k := r.connect(r.listen(), f.bot, true)
		const loopback = 1
		interfaces := p.pinned(bpf.DataplaneMapInterfaces)
		p.must(interfaces.Put(uint32(loopback), bpf.DataplaneInterface{Flags: uint32(bpf.InterfaceNoTX)}))
		t.Cleanup(func() { _ = interfaces.Delete(uint32(loopback)) })
		here := loader.Arrival{Interface: loopback}
		want := func(what, outcome string) {
			t.Helper()
			action, out, err := p.RunAs(k.at(0, request).Bytes(), here)
			p.must(err)
			p.sent++
			for c := range p.catchUp() {
				if got := p.result(c, action); got.Outcome != outcome ||
					got.Action != map[bool]string{true: "XDP_DROP", false: "XDP_PASS"}[outcome == "drop"] {
					t.Errorf("%s: %+v, %d bytes", what, got, len(out))
				}
			}
		}
		p.mode(config.ModeObserve)
		want("observed", "would_drop")
		p.forgetFlows()
		p.mode(config.ModeEnforce)
		want("the first payload", "drop")
		want("again", "drop")
		p.must(interfaces.Delete(uint32(loopback)))
		want("by another interface", "reset")
	})
}
