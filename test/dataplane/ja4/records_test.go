// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
)

// A hello in many records is read wherever it is cut, through their headers too.
func TestEveryCutOfRecords(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(against(p.ja4Of(one(browser(1)))).bundle())
	inRecords := clienthello.Records(browser(1).Bytes(), clienthello.Every(63)...)
	for cut := range inRecords {
		p.wants(fmt.Sprintf("a bot in 63 records, cut at %d", cut), "XDP_DROP",
			p.visits(botIP, uint16(cut+1), inRecords).all(cut))
	}
}

// One connection's hello never tells about another's, whatever lies in the workspace since.
func TestNothingIsLeftOfTheHelloBefore(t *testing.T) {
	p := open(t)
	p.spendFreely()
	bot, visitor := browser(1), tiny(0x1301, 0x1302, 0xc02b)
	p.swap(against(p.ja4Of(one(bot))).bundle())

	inRecords := clienthello.Records(bot.Bytes(), 100, 200)
	p.wants("the bot, in three records", "XDP_DROP", p.visits(botIP, 1, inRecords).all())
	split := clienthello.Records(visitor.Bytes(), 30)
	for cut := 1; cut < len(split); cut++ {
		p.wants("the bot again", "XDP_DROP", p.visits(botIP, 1000+uint16(cut), inRecords).all())
		v := p.visits(visitorIP, 1000+uint16(cut), split)
		what := fmt.Sprintf("a visitor's hello in two records, cut at %d", cut)
		p.wants(what+", first segment", "XDP_PASS", v.bytes(0, cut))
		v.wantJA4(what+", first segment", "")
		p.wants(what+", second segment", "XDP_PASS", v.bytes(cut, len(split)))
		v.wantJA4(what, p.ja4Of(split))
	}
}

// record is a record of TLS.
func record(kind, major, minor byte, content []byte) []byte {
	return slices.Concat([]byte{kind, major, minor, byte(len(content) >> 8), byte(len(content))}, content)
}
