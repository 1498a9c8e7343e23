// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/packet"
)

// tunnelled captures have their SYNs inside another IP packet. The program reads the outer one: who sent it is who is
// judged, and the tunnel's end is where its content becomes traffic. So it has no fingerprint for these.
var tunnelled = map[string]string{
	"arkime/gre-sample.pcap":     "GRE",
	"arkime/tcpdump-geneve.pcap": "Geneve, over UDP",
}

// captured is one SYN of a capture.
type captured struct {
	flow   string
	port   uint16
	frame  []byte
	second string // what Go reads
}

// Every SYN of the captures has the fingerprint that two other readers found.
func TestFingerprintsOfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	expected := expectedFingerprints(t, folder)
	one := capacity
	one.Syns = 1 // every SYN writes the same record
	p := openSized(t, one)
	p.publish(siteOf(), nothing())

	byPort := map[uint16][]*captured{}
	byFile := map[string][]*captured{}
	for _, name := range captureFiles(t, folder) {
		for _, c := range synsOf(t, filepath.Join(folder, name)) {
			byPort[c.port] = append(byPort[c.port], c)
			byFile[name] = append(byFile[name], c)
		}
	}
	read := map[*captured]string{}
	for ports := range slices.Chunk(slices.Sorted(maps.Keys(byPort)), 30) {
		p.publishHost(siteOf(ports...))
		p.swap(nothing())
		for _, port := range ports {
			for _, c := range byPort[port] {
				read[c] = p.fingerprint(c.frame)
			}
		}
	}
	for name, want := range expected {
		if why, ok := tunnelled[name]; ok {
			t.Logf("%s: left out: %s", name, why)
			want = nil
		}
		got := map[string]bool{}
		for _, c := range byFile[name] {
			got[c.flow+" "+read[c]] = true
			if c.second != read[c] {
				t.Errorf("%s %s: the program reads %q, Go reads %q", name, c.flow, read[c], c.second)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		delete(byFile, name)
	}
	for name, syns := range byFile {
		t.Errorf("%s: %d SYNs, and none is expected", name, len(syns))
	}
	if len(read) < 100 {
		t.Errorf("only %d SYNs were read", len(read))
	}
}

// siteOf is a host file with one service for each port.
func siteOf(ports ...uint16) *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	for _, port := range ports {
		h.Services = append(h.Services, config.Service{Name: fmt.Sprintf("port-%d", port), Port: port,
			Addresses: []config.Address{{}}, Kind: config.KindTCP, Local: true})
	}
	return h
}

func captureFiles(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"arkime/*.pcap", "suricata-verify/*.pcap"} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("captures %s: %d, %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(folder, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	return names
}

// synsOf returns the SYNs of a capture that Go finds.
func synsOf(t *testing.T, path string) []*captured {
	t.Helper()
	frames, err := readPcap(path)
	if err != nil {
		t.Fatal(err)
	}
	var syns []*captured
	for _, frame := range frames {
		fingerprint, err := packet.MuonFP(frame)
		if err != nil {
			continue
		}
		tcp, src := tcpOf(frame)
		var dst []byte
		if src.Addr().Is4() {
			dst = frame[packet.EthernetLen+16:][:4]
		} else {
			dst = frame[packet.EthernetLen+24:][:16]
		}
		port := binary.BigEndian.Uint16(tcp[2:])
		flow := fmt.Sprintf("%x:%d>%x:%d", src.Addr().AsSlice(), src.Port(), dst, port)
		syns = append(syns, &captured{flow, port, frame, fingerprint})
	}
	return syns
}

// fingerprint runs a SYN and returns what the program remembered of it.
func (p *plane) fingerprint(syn []byte) string {
	p.t.Helper()
	if got := p.run(syn); got != "XDP_PASS" {
		p.t.Fatalf("a SYN that no rule knows: %s", got)
	}
	record, ok := p.records()[0]
	switch {
	case !ok:
		return "no record"
	case record.HasFingerprint == 0:
		return "no fingerprint"
	}
	p.must(p.pinned("syns").Put(uint32(0), bpf.SynRecord{}))
	return compile.FormatFingerprint(record.Fingerprint)
}
