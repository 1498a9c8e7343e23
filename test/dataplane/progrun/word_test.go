// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// In observe mode everything passes, and the counters say what would have been dropped.
func TestObserveCountsWhatItWouldDrop(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		h := f.site()
		h.MaxMode = config.ModeObserve
		p := borrow(t)
		p.publish(h, f.usual().bundle())
		p.must(p.Ban(host(f.other), time.Hour))
		p.wantRows([]row{
			{"a bot's SYN", f.syn(f.bot), would("prefix")},
			{"a scanner's SYN", f.scan(f.visitor), would("tcp_fingerprint")},
			{"a bot's data", f.data(f.bot, 5, request), would("prefix")},
			{"a bot's hello", f.data(f.bot, 5, hello), would("prefix")},
			{"a bot's ACK", f.ack(f.bot, 5), would("prefix")},
			{"a bot's UDP", f.udp(f.bot, dnsPort), would("prefix").of("dns")},
			{"a banned source", f.syn(f.other), would("ban").by("none")},
			{"a protected source", f.syn(f.protected), passes("protected")},
			{"a visitor", f.syn(f.visitor), passes("no_match")},
		})
		p.mode(config.ModeEnforce)
		p.want("enforce", f.syn(f.bot), drops("prefix"))
		p.mode(config.ModeObserve)
		p.want("observe again", f.syn(f.bot), would("prefix"))
	})
}

// The kill switch is read before anything else: the dataplane does not even see the packet.
func TestBypass(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.want("off", f.syn(f.bot), drops("prefix"))
		p.SetBypass(loader.DeadlineForever)
		p.wantUncounted("on", f.syn(f.bot))
		p.SetBypass(loader.In(time.Hour))
		p.wantUncounted("for an hour", f.syn(f.bot))
		p.SetBypass(1)
		p.want("a deadline long past", f.syn(f.bot), drops("prefix"))
		p.SetBypass(0)
		p.want("off again", f.syn(f.bot), drops("prefix"))

		end := loader.In(100 * time.Millisecond)
		p.SetBypass(end)
		frame := f.syn(f.bot).Bytes()
		p.poll("a bypass that ends", func() bool {
			action, _, err := p.Run(frame)
			p.must(err)
			return actionName(action) == "XDP_DROP"
		})
		if !over(end) {
			t.Error("the bypass ended before its deadline")
		}
		p.sent++ // the one that the dataplane saw
		p.catchUp()
	})
}

func TestServiceBypass(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		dns := p.id("dns")
		on := undecided("dns", "service_bypass")
		p.SetServiceBypass(dns, loader.DeadlineForever)
		p.want("on", f.udp(f.bot, dnsPort), on)
		p.want("a visitor", f.udp(f.visitor, dnsPort), on)
		p.want("another service", f.syn(f.bot), drops("prefix"))
		p.SetServiceBypass(dns, loader.In(time.Hour))
		p.want("for an hour", f.udp(f.bot, dnsPort), on)
		p.SetServiceBypass(dns, 1)
		p.want("a deadline long past", f.udp(f.bot, dnsPort), drops("prefix").of("dns"))

		end := loader.In(100 * time.Millisecond)
		p.SetServiceBypass(dns, end)
		p.poll("a bypass that ends", func() bool {
			return p.send(f.udp(f.bot, dnsPort).Bytes()) == drops("prefix").of("dns")
		})
		if !over(end) {
			t.Error("the bypass ended before its deadline")
		}
	})
}

func (p *plane) id(service string) uint8 {
	p.t.Helper()
	info, err := p.Host()
	p.must(err)
	s, ok := info.Service(service)
	if !ok {
		p.t.Fatalf("no service %s", service)
	}
	return s.ID
}
