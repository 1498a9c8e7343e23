// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Names are the captures below a folder, by their paths in it, as the tables of expected values name them.
func Names(t testing.TB, folder string) []string {
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

// overUDP are the rows of tshark's table that are not of TLS over TCP, by capture and frame: nobody here reads those.
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

// JA3 is tshark's table of JA3 (capture, frame, hash, text), without what is not of TLS over TCP.
func JA3(t testing.TB, folder string) (rows [][]string) {
	t.Helper()
	left := 0
	for _, row := range Table(t, folder, "tshark-4.0.17-ja3.tsv") {
		if overUDP[row[0]+" "+row[1]] != "" {
			left++
			continue
		}
		rows = append(rows, row)
	}
	if left != len(overUDP) {
		t.Errorf("%d rows of JA3 left out, %d known", left, len(overUDP))
	}
	return rows
}

// Compare reports what differs between two lists, whatever their order.
func Compare(t testing.TB, name string, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// P0fSide writes an address and a port as p0f does: IPv6 with all its zeros.
func P0fSide(a netip.AddrPort) string {
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
