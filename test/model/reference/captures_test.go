// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/capture"
)

// damaged captures end with an error, by their names.
var damaged = map[string]string{
	"bug-1450-04__tls_DER-incomplete-header.pcap":  "frame 7 claims 4 MiB",
	"bug-1450-05__tls_DER-incomplete-content.pcap": "frame 7 claims 4 MiB",
}

// found is a ClientHello in a capture.
type found struct {
	flow  string
	frame int // the last that it needs
	hello *reference.Hello
}

// hellosOf returns the first hello of each TCP stream of a capture. One that does not begin its stream (STARTTLS, a
// proxy's answer before it) begins with a frame of its own.
func hellosOf(t *testing.T, path string) []found {
	t.Helper()
	var all []found
	for _, s := range capture.Streams(packetsOf(t, path)) {
		for _, chunk := range s.Chunks {
			hello, err := reference.ParseStream(s.Bytes[chunk.Offset:])
			if errors.Is(err, reference.ErrMalformed) {
				t.Errorf("%s %s frame %d: %v", path, s.Flow, chunk.Frame, err)
			}
			if err == nil {
				all = append(all, found{s.Flow.String(), s.FrameOf(chunk.Offset + hello.End - 1), hello})
				break
			}
		}
	}
	return all
}

func packetsOf(t *testing.T, path string) []capture.Packet {
	t.Helper()
	frames, err := capture.ReadFile(path)
	if why, is := damaged[filepath.Base(path)]; is != (err != nil) {
		t.Fatalf("%s: %v, known damage: %q", path, err, why)
	}
	var packets []capture.Packet
	for _, f := range frames {
		packets = append(packets, f.Packets()...)
	}
	return packets
}

// compare reports what differs between two lists, whatever their order.
func compare(t *testing.T, name string, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func captureNames(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*", "*.pcap*"))
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d captures, %v", len(paths), err)
	}
	var names []string
	for _, path := range paths {
		name, err := filepath.Rel(folder, path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.ToSlash(name))
	}
	return names
}

func TestJA4OfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	want := map[string][]string{}
	for _, row := range capture.Table(t, folder, "ja4-spec.tsv") {
		if row[1] == "t" {
			want[row[0]] = append(want[row[0]], fmt.Sprint(row[10], " ", row[2], " ", row[3], " ", row[4]))
		}
	}
	for _, name := range captureNames(t, folder) {
		var got []string
		for _, f := range hellosOf(t, filepath.Join(folder, name)) {
			_, hash, err := f.hello.JA3()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, fmt.Sprint(f.flow, " ", f.hello.JA4(), " ", hash, " ", len(f.hello.Message)))
		}
		compare(t, name, want[name], got)
	}
}

// overUDP are the rows of tshark's table that are not of TLS over TCP, by capture and frame, which is all that this
// package reads.
var overUDP = map[string]string{
	"arkime/arkime_synthetic.pcap 299":                   "DTLS",
	"arkime/arkime_synthetic.pcap 564":                   "DTLS",
	"arkime/arkime_synthetic.pcap 625":                   "QUIC",
	"arkime/cloudshark-dtls1.pcap 1":                     "DTLS",
	"arkime/quicietf.pcap 1":                             "QUIC",
	"arkime/wireshark-dtls0.pcap 1":                      "DTLS",
	"arkime/wireshark-dtls0.pcap 3":                      "DTLS",
	"arkime/wireshark-dtls12.pcap 1":                     "DTLS",
	"arkime/wireshark-dtls12.pcap 3":                     "DTLS",
	"suricata-verify/ja4-rules__input.pcap 47":           "QUIC",
	"suricata-verify/ja4-tls-quic__input.pcap 47":        "QUIC",
	"suricata-verify/quic-ack3__input.pcap 1":            "QUIC",
	"suricata-verify/quic-frag-middle-gap__input.pcap 3": "QUIC",
	"suricata-verify/quic-frag-wait__input.pcap 2":       "QUIC",
	"suricata-verify/quic-frag__input.pcap 2":            "QUIC",
	"suricata-verify/quic-ietf-ja3__input.pcap 1":        "QUIC",
	"suricata-verify/quic-v2-ja3__input.pcap 1":          "QUIC",
}

func TestJA3OfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	want, left := map[string][]string{}, 0
	for _, row := range capture.Table(t, folder, "tshark-4.0.17-ja3.tsv") {
		if overUDP[row[0]+" "+row[1]] != "" {
			left++
			continue
		}
		want[row[0]] = append(want[row[0]], fmt.Sprint(row[1], " ", row[2], " ", row[3]))
	}
	if left != len(overUDP) {
		t.Errorf("%d rows left out, %d known", left, len(overUDP))
	}
	for _, name := range captureNames(t, folder) {
		var got []string
		for _, f := range hellosOf(t, filepath.Join(folder, name)) {
			text, hash, err := f.hello.JA3()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, fmt.Sprint(f.frame, " ", hash, " ", text))
		}
		compare(t, name, want[name], got)
	}
}

func TestSYNsOfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	wantP0f, wantMuonFP := map[string][]string{}, map[string][]string{}
	for _, row := range capture.Table(t, folder, "p0f-3.09b-syn.tsv") {
		wantP0f[row[0]] = append(wantP0f[row[0]], row[1]+" "+row[2])
	}
	for _, row := range capture.Table(t, folder, "muonfp-syn.tsv") {
		wantMuonFP[row[0]] = append(wantMuonFP[row[0]], row[1]+" "+row[2])
	}
	for _, name := range captureNames(t, folder) {
		var gotP0f, gotMuonFP []string
		for _, p := range packetsOf(t, filepath.Join(folder, name)) {
			flow, _, ok := p.TCP()
			if !ok {
				continue
			}
			if s, err := reference.P0f(p.IP); err == nil && p.Under == "" { // p0f reads nothing but the outer packet
				gotP0f = append(gotP0f, p0fSide(flow.Source)+"->"+p0fSide(flow.Dest)+" "+s)
			}
			if s, err := reference.MuonFP(p.IP); err == nil {
				gotMuonFP = append(gotMuonFP, flow.String()+" "+s)
			}
		}
		compare(t, name+" p0f", wantP0f[name], gotP0f)
		compare(t, name+" muonfp", wantMuonFP[name], gotMuonFP)
	}
}

// p0fSide writes an address and a port as p0f does: IPv6 with all its zeros.
func p0fSide(a netip.AddrPort) string {
	address := a.Addr().String()
	if a.Addr().Is6() {
		var words []string
		for pair := range slices.Chunk(a.Addr().AsSlice(), 2) {
			words = append(words, fmt.Sprintf("%x", int(pair[0])<<8|int(pair[1])))
		}
		address = strings.Join(words, ":")
	}
	return fmt.Sprintf("%s/%d", address, a.Port())
}
