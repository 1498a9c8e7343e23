// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/packet"
)

// notFirst are the hellos that do not begin their stream, by capture and port of the server, and what does. The kernel
// judges a connection by its first payload, so it has no JA4 for them. Here they are sent as if another connection
// began with them: that their fingerprint is right is shown all the same.
var notFirst = map[string]string{
	"arkime/adb_synthetic.pcap 5555":                "STLS of the Android debug bridge",
	"arkime/https-connect.pcap 8080":                "CONNECT to a proxy",
	"arkime/socks-https-example.pcap 1080":          "a SOCKS request",
	"suricata-verify/ldap-starttls__input.pcap 389": "STARTTLS of LDAP",
}

// TestCaptures sends every capture with an expected JA4 through the programs, frame by frame as captured.
func TestCaptures(t *testing.T) {
	folder := capture.Folder(t)
	p := open(t)
	p.spendFreely()
	want, services := map[string][]string{}, map[uint16]bool{}
	for _, row := range capture.Table(t, folder, "ja4-spec.tsv") {
		if row[1] != "t" {
			continue
		}
		want[row[0]] = append(want[row[0]], row[10]+" "+row[2])
		services[portOf(t, row[10])] = true
	}
	h := site()
	h.Services = nil
	for port := range services {
		h.Services = append(h.Services,
			config.Service{Name: fmt.Sprint("port-", port), Addresses: []config.Address{{}}, Port: port,
				Kind: config.KindTLS, Local: false})
	}
	p.publishHost(h)
	p.swap(bundle().bundle())
	compared, seen := 0, map[string]bool{}
	for name, rows := range want {
		p.forget()
		got, late := p.replay(folder, name, services)
		for _, which := range late {
			seen[which] = true
		}
		slices.Sort(rows)
		slices.Sort(got)
		if diff := cmp.Diff(rows, got); diff != "" && len(rows)+len(got) > 0 {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		compared += len(rows)
	}
	t.Logf("%d hellos of %d captures", compared, len(want))
	for which, why := range notFirst {
		t.Logf("not the first payload: %s (%s)", which, why)
		if !seen[which] {
			t.Errorf("%s is no exception", which)
		}
	}
}

func portOf(t *testing.T, flow string) uint16 {
	t.Helper()
	var port uint16
	if _, err := fmt.Sscan(flow[strings.LastIndex(flow, ":")+1:], &port); err != nil {
		t.Fatalf("port of %s: %v", flow, err)
	}
	return port
}

// replay sends all frames of a capture and returns flow and JA4 of every connection that has got one, and which of
// notFirst they are.
func (p *plane) replay(folder, name string, services map[uint16]bool) (found, late []string) {
	p.t.Helper()
	frames, err := capture.ReadFile(filepath.Join(folder, name))
	if err != nil && !strings.Contains(name, "bug-1450") { // these two are known to be damaged at their end
		p.t.Fatal(err)
	}
	last, begun := map[string]string{}, map[string]bool{}
	for _, f := range frames {
		frame, err := f.Ethernet()
		flow, tcp, ok := outer(f)
		if err != nil || !ok || !services[flow.Dest.Port()] {
			continue
		}
		if which := fmt.Sprint(name, " ", flow.Dest.Port()); notFirst[which] != "" && !begun[flow.String()] {
			if data := tcp.LayerPayload(); len(data) < 6 || data[0] != 22 || data[5] != 1 {
				continue
			}
			begun[flow.String()] = true
			late = append(late, which)
			p.run(packet.Frame{Source: flow.Source.Addr(), Dest: flow.Dest.Addr(), Body: packet.TCP{
				SourcePort: flow.Source.Port(), DestPort: flow.Dest.Port(), Seq: tcp.Seq - 1, Flags: packet.SYN}}.Bytes())
		}
		p.run(frame)
		kept, ok := p.flow(flow.Source, flow.Dest)
		if !ok || kept.Flags&uint8(bpf.FlowHasTLS) == 0 {
			continue
		}
		if ja4 := compile.FormatJA4(kept.Tls); last[flow.String()] != ja4 {
			last[flow.String()] = ja4
			found = append(found, flow.String()+" "+ja4)
		}
	}
	return found, late
}

// outer returns the flow and the segment of a frame itself, not of a tunnel in it.
func outer(f capture.Frame) (capture.Flow, *layers.TCP, bool) {
	for _, in := range f.Packets() {
		if flow, tcp, ok := in.TCP(); ok && !strings.Contains(in.Under, "IP") {
			return flow, tcp, true
		}
	}
	return capture.Flow{}, nil, false
}
