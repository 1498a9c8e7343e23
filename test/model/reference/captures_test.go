// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

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

func TestJA4OfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	want := map[string][]string{}
	for _, row := range capture.Table(t, folder, "ja4-spec.tsv") {
		if row[1] == "t" {
			want[row[0]] = append(want[row[0]], fmt.Sprint(row[10], " ", row[2], " ", row[3], " ", row[4]))
		}
	}
	for _, name := range capture.Names(t, folder) {
		var got []string
		for _, f := range hellosOf(t, filepath.Join(folder, name)) {
			_, hash, err := f.hello.JA3()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, fmt.Sprint(f.flow, " ", f.hello.JA4(), " ", hash, " ", len(f.hello.Message)))
		}
		capture.Compare(t, name, want[name], got)
	}
}

func TestJA3OfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	want := map[string][]string{}
	for _, row := range capture.JA3(t, folder) {
		want[row[0]] = append(want[row[0]], fmt.Sprint(row[1], " ", row[2], " ", row[3]))
	}
	for _, name := range capture.Names(t, folder) {
		var got []string
		for _, f := range hellosOf(t, filepath.Join(folder, name)) {
			text, hash, err := f.hello.JA3()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, fmt.Sprint(f.frame, " ", hash, " ", text))
		}
		capture.Compare(t, name, want[name], got)
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
	for _, name := range capture.Names(t, folder) {
		var gotP0f, gotMuonFP []string
		for _, p := range packetsOf(t, filepath.Join(folder, name)) {
			flow, _, ok := p.TCP()
			if !ok {
				continue
			}
			if s, err := reference.P0f(p.IP); err == nil && p.Under == "" { // p0f reads nothing but the outer packet
				gotP0f = append(gotP0f, capture.P0fSide(flow.Source)+"->"+capture.P0fSide(flow.Dest)+" "+s)
			}
			if s, err := reference.MuonFP(p.IP); err == nil {
				gotMuonFP = append(gotMuonFP, flow.String()+" "+s)
			}
		}
		capture.Compare(t, name+" p0f", wantP0f[name], gotP0f)
		capture.Compare(t, name+" muonfp", wantMuonFP[name], gotMuonFP)
	}
}
