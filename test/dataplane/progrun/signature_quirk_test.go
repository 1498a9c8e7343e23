// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// quirky has every quirk: what has it, and the rest of its signature where that differs.
var quirky = []struct {
	quirks  string
	only    uint8
	base    string // %s for the quirks; "": usual
	changes []change
}{
	{"df", 4, "", []change{func(o *opener) { o.df, o.id = true, 0 }}},
	{"df,id+", 4, "", []change{func(o *opener) { o.df = true }}},
	{"id-", 4, "", []change{func(o *opener) { o.id = 0 }}},
	{"0+", 4, "", []change{func(o *opener) { o.reserved = true }}},
	{"flow", 6, "", []change{func(o *opener) { o.flow = 1 }, func(o *opener) { o.flow = 0xfffff }}},
	{"ecn", 0, "",
		[]change{func(o *opener) { o.tos = 1 }, func(o *opener) { o.tos = 2 }, func(o *opener) { o.tcp.Flags |= packet.ECE },
			func(o *opener) { o.tcp.Flags |= packet.CWR }, func(o *opener) { o.nonce = true }}},
	{"seq-", 0, "", []change{func(o *opener) { o.tcp.Seq = 0 }}},
	{"ack+", 0, "", []change{func(o *opener) { o.tcp.Ack = 1 << 24 }}},
	{"uptr+", 0, "", []change{func(o *opener) { o.urgent = 1 }, func(o *opener) { o.urgent = 1 << 15 }}},
	{"urgf+", 0, "",
		[]change{func(o *opener) { o.tcp.Flags |= packet.URG }, func(o *opener) { o.tcp.Flags |= packet.URG; o.urgent = 9 }}},
	{"pushf+", 0, "", []change{func(o *opener) { o.tcp.Flags |= packet.PSH }}},
	{"ts1-", 0, "", []change{withOptions(mss1460, sok, packet.Timestamps(0, 0), nop, ws7)}},
	{"ts2+", 0, "", []change{withOptions(mss1460, sok, packet.Timestamps(1, 1), nop, ws7)}},
	{"ts1-,ts2+", 0, "", []change{withOptions(mss1460, sok, packet.Timestamps(0, 1), nop, ws7)}},
	{"opt+", 0, "*:64:0:1460:mss*44,0:mss,eol+3:%s:0",
		[]change{withOptions(mss1460, packet.EOL(), []byte{1, 0, 0}), withOptions(mss1460, packet.EOL(), []byte{0, 1, 1})}},
	{"exws", 0, "*:64:0:1460:mss*44,15:mss,sok,ts,nop,ws:%s:0",
		[]change{withOptions(mss1460, sok, ts, nop, packet.Scale(15))}},
	{"exws", 0, "*:64:0:1460:mss*44,*:mss,sok,ts,nop,ws:%s:0",
		[]change{withOptions(mss1460, sok, ts, nop, packet.Scale(255))}},
	{"bad", 0, "*:64:0:1460:mss*44,0:mss,nop,sok:%s:0", []change{withOptions(mss1460, nop, []byte{packet.KindSACK, 9})}},
	{"ecn,seq-,ack+,pushf+", 0, "",
		[]change{func(o *opener) { o.tos, o.tcp.Seq, o.tcp.Ack = 3, 0, 1<<24; o.tcp.Flags |= packet.PSH }}},
}

// Every quirk: asked for and there, there and not asked for, asked for and not there.
func TestSignatureQuirks(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		for _, row := range quirky {
			if row.only != 0 && row.only != versionOf(f) {
				continue
			}
			base := row.base
			if base == "" {
				base = usualSignature(6, "%s")
			}
			own := fmt.Sprint(versionOf(f)) + base[1:]
			without := strings.Replace(fmt.Sprintf(own, ""), ",15:", ",*:", 1)
			for _, signature := range []string{fmt.Sprintf(own, row.quirks), fmt.Sprintf(base, row.quirks)} {
				p.swap(denySignature(signature))
				for i, c := range row.changes {
					p.wantFit(fmt.Sprintf("%s %d", row.quirks, i), signature, f, c, true)
				}
				p.wantFit("without "+row.quirks, signature, f, unchanged, false)
			}
			p.swap(denySignature(without))
			for i, c := range row.changes {
				p.wantFit(fmt.Sprintf("%s %d, not asked for", row.quirks, i), without, f, c, false)
			}
		}
	})
}

// A signature for both versions is not asked for the quirks that only the other one has.
func TestSignatureOfBothVersions(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		p.swap(denySignature(usualSignature(6, "df,id+,ecn")))
		p.wantFit("ecn alone", "df,id+,ecn", f, func(o *opener) { o.tos = 1 }, versionOf(f) == 6)
		p.wantFit("df,id+,ecn", "df,id+,ecn", f, func(o *opener) { o.tos, o.df = 1, true }, true)
		p.swap(denySignature(usualSignature(6, "flow,ecn")))
		p.wantFit("ecn alone", "flow,ecn", f, func(o *opener) { o.tos = 1 }, versionOf(f) == 4)
		p.wantFit("flow,ecn", "flow,ecn", f, func(o *opener) { o.tos, o.flow = 1, 7 }, true)
		p.wantFit("flow", "flow,ecn", f, func(o *opener) { o.flow = 7 }, false)
	})
}
