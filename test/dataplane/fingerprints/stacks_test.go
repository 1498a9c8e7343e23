// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/packet"
)

// judge asks the kernel about a SYN, compares its reading with the reference's, and returns p0f's raw signature and
// MuonFP.
func judge(t *testing.T, l *probe.Probe, s published) (seen signature.P0F, fp signature.MuonFP) {
	t.Helper()
	frame := s.frame()
	var events []bpf.Event
	if err := l.Ask(frame, func(e bpf.Event) { events = append(events, e) }); err != nil || len(events) != 1 {
		t.Fatalf("%s over IPv%d: events %+v, %v", s, s.version, events, err)
	}
	if err := l.Forget(); err != nil {
		t.Fatal(err)
	}
	got := compile.FormatP0F(events[0].Fingerprint, events[0].Facts)
	if want, err := reference.P0f(frame[packet.EthernetLen:]); err != nil || got != want {
		t.Errorf("%s over IPv%d: the kernel reads %s, the reference %s, %v", s, s.version, got, want, err)
	}
	seen, err := signature.ParseP0F(got)
	if err != nil {
		t.Errorf("%s: %v", got, err)
	}
	muonfp := compile.FormatFingerprint(events[0].Fingerprint)
	if want, err := packet.MuonFP(frame); err != nil || muonfp != want {
		t.Errorf("%s: the kernel reads %s, the frame says %s, %v", s, muonfp, want, err)
	}
	if fp, err = signature.ParseMuonFP(muonfp); err != nil {
		t.Errorf("%s: %v", muonfp, err)
	}
	return seen, fp
}

// judgeEach sends a signature's SYN over each IP version that it is for, from near and from far.
func judgeEach(t *testing.T, l *probe.Probe, s signature.P0F, do func(signature.P0F, signature.MuonFP)) {
	t.Helper()
	for _, version := range s.Versions() {
		for _, hops := range []uint8{0, 13} {
			do(judge(t, l, published{s, version, hops, 40000}))
		}
	}
}

// named wants the stack among those found, and none of another class. Android is Linux.
func named(t *testing.T, stack catalogue.KnownStack, by string, found []catalogue.KnownStack) {
	t.Helper()
	class := func(family string) string { return strings.Replace(family, "android", "linux", 1) }
	own := false
	for _, s := range found {
		own = own || s.Name == stack.Name && s.Versions == stack.Versions
		if class(s.Family) != class(stack.Family) {
			t.Errorf("a SYN of %s %s, made from %s, is also named %s %s", stack.Name, stack.Versions, by, s.Name, s.Versions)
		}
	}
	if !own {
		t.Errorf("a SYN made from %s is not named %s %s", by, stack.Name, stack.Versions)
	}
}

// What the catalogue publishes of a system, sent as a SYN from near and far, is read right and named after that system.
func TestPublishedStacksAreNamed(t *testing.T) {
	l := openLab(t)
	listed, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for _, stack := range listed.Stacks {
		for _, s := range stack.P0F {
			judgeEach(t, l, s, func(seen signature.P0F, _ signature.MuonFP) {
				made[stack.Family]++
				named(t, stack, s.String(), listed.ByTCP(signature.MuonFP{}, &seen)) // by the signature alone
			})
		}
		for _, known := range stack.MuonFP {
			s := signature.P0F{TTL: 64, MSS: known.MSS, Scale: known.Scale, Layout: known.Kinds, Payload: signature.PayloadNone,
				Window: signature.Window{Kind: signature.WindowValue, N: known.Window},
				EOLPad: uint8(-signature.LayoutBytes(known.Kinds, 0) & 3)}
			judgeEach(t, l, s, func(_ signature.P0F, fp signature.MuonFP) {
				named(t, stack, known.String(), listed.ByTCP(fp, nil))
			})
		}
	}
	for _, family := range []string{"windows", "apple", "android", "linux", "raw"} {
		if made[family] == 0 {
			t.Errorf("no SYN was made from a signature of the family %s", family)
		}
	}
}

// A signature may say what none of the catalogue's does; the SYN made from it has that too.
func TestSYNsOfEveryForm(t *testing.T) {
	l := openLab(t)
	for _, text := range []string{
		"4:255:8:536:*,*:mss,?77,sack,eol+3:0+,opt+:+",
		"*:64-:0:265:%512,0:mss,sok,ts:df,id+,flow,seq-,ack+,uptr+:0",
		"*:32:0:*:mtu*3,*:mss,nop,ws,ts,eol+1:ecn,urgf+,pushf+,ts1-,ts2+,exws:*",
		"*:128:0:*:mss*500,0:mss,?254:id-:0",
		"6:64:0:1220:0,0:mss,?30,?253:flow:+",
	} {
		s, err := signature.ParseP0F(text)
		if err != nil {
			t.Fatal(err)
		}
		stack := catalogue.KnownStack{Name: "every", Versions: "form", P0F: []signature.P0F{s}}
		judgeEach(t, l, s, func(seen signature.P0F, _ signature.MuonFP) {
			named(t, stack, text, (&catalogue.Catalogue{Stacks: []catalogue.KnownStack{stack}}).ByTCP(signature.MuonFP{}, &seen))
		})
	}
}
