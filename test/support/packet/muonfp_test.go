// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"errors"
	"testing"
)

func TestMuonFP(t *testing.T) {
	windows := [][]byte{MSS(1460), NOP(), Scale(8), NOP(), NOP(), SACKPermitted()}
	with := func(f Frame, change func(*Frame)) Frame { change(&f); return f }
	for name, c := range map[string]struct {
		frame Frame
		want  string
	}{
		"no options":     {syn(from4, to4), "64240:::"},
		"Windows":        {syn(from4, to4, windows...), "64240:2-1-3-1-1-4:1460:8"},
		"over IPv6":      {syn(from6, to6, windows...), "64240:2-1-3-1-1-4:1460:8"},
		"scale 0":        {syn(from4, to4, Scale(0), NOP()), "64240:3-1::0"},
		"end of options": {syn(from4, to4, MSS(1400), EOL(), NOP(), NOP(), NOP()), "64240:2-0:1400:"},
		"unknown kinds":  {syn(from4, to4, Option(KindFastOpen), Option(254, 1, 2), NOP(), NOP()), "64240:34-254-1-1::"},
		"long MSS":       {syn(from4, to4, Option(KindMSS, 1, 2, 3), NOP(), NOP(), NOP()), "64240:2-1-1-1::"},
		"tags and extension headers": {with(syn(from6, to6, MSS(1300)), func(f *Frame) {
			f.Tags, f.Extensions = Tags(2, 0), append(Extensions(1, AH), Extensions(2, FragmentHeader)...)
		}), "64240:2:1300:"},
		"IPv4 options and padding": {with(syn(from4, to4, MSS(1300)), func(f *Frame) {
			f.Options, f.Padding = []byte{1, 1, 1}, 9
		}), "64240:2:1300:"},
	} {
		got, err := MuonFP(c.frame.Bytes())
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestMuonFPRefuses(t *testing.T) {
	ack := syn(from4, to4)
	ack.Body = TCP{Flags: ACK}
	later := syn(from4, to4)
	later.Fragment = &Fragment{Offset: 1}
	for name, f := range map[string]Frame{"ACK": ack, "later fragment": later, "ARP": {EtherType: new(EtherARP)},
		"UDP": {Source: from4, Dest: to4, Body: UDP{}}} {
		if got, err := MuonFP(f.Bytes()); !errors.Is(err, ErrNoSYN) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, options := range map[string][]byte{
		"length 1":      {KindMSS, 1, 0, 0},
		"over the end":  {KindMSS, 5, 0, 0},
		"length absent": {KindNOP, KindNOP, KindNOP, KindMSS},
	} {
		got, err := MuonFP(syn(from4, to4, options).Bytes())
		if err == nil || errors.Is(err, ErrNoSYN) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	whole := syn(from6, to6, MSS(1460)).Bytes()
	for n, cut := range Truncations(whole, 0) {
		if got, err := MuonFP(cut); n < len(whole) && err == nil {
			t.Errorf("cut to %d of %d bytes: %q", n, len(whole), got)
		}
	}
}
