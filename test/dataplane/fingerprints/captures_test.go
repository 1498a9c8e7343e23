// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/userspace/fingerprint"
)

// damaged captures end with an error at this place.
var damaged = map[string]string{
	"suricata-verify/bug-1450-04__tls_DER-incomplete-header.pcap":  "damaged at frame 7, byte 5035: ",
	"suricata-verify/bug-1450-05__tls_DER-incomplete-content.pcap": "damaged at frame 7, byte 5035: ",
}

// tunnelled captures have TCP inside another IP packet. Who sent the outer one is who is judged, so the dataplane does not
// look inside, and neither does this command.
var tunnelled = map[string]string{
	"arkime/gre-sample.pcap":     "GRE",
	"arkime/tcpdump-geneve.pcap": "Geneve, over UDP",
}

// overUDP are the rows of tshark's table that are not of TLS over TCP, by capture and frame.
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

// expected holds the tables by capture.
type expected struct{ ja4, ja3, p0f, muonfp map[string][]string }

func expectations(t *testing.T, folder string) expected {
	t.Helper()
	e := expected{map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}}
	for _, row := range capture.Table(t, folder, "ja4-spec.tsv") {
		if row[1] == "t" {
			e.ja4[row[0]] = append(e.ja4[row[0]], row[10]+" "+row[2]+" "+row[3])
		}
	}
	left := 0
	for _, row := range capture.Table(t, folder, "tshark-4.0.17-ja3.tsv") {
		if overUDP[row[0]+" "+row[1]] != "" {
			left++
			continue
		}
		e.ja3[row[0]] = append(e.ja3[row[0]], row[2]+" "+row[3])
	}
	if left != len(overUDP) {
		t.Errorf("%d rows of JA3 left out, %d known", left, len(overUDP))
	}
	for _, row := range capture.Table(t, folder, "p0f-3.09b-syn.tsv") {
		e.p0f[row[0]] = append(e.p0f[row[0]], row[1]+" "+row[2])
	}
	for _, row := range capture.Table(t, folder, "muonfp-syn.tsv") {
		e.muonfp[row[0]] = append(e.muonfp[row[0]], row[1]+" "+row[2])
	}
	return e
}

// Every capture gives what others found in it: by the dataplane's programs, and by Go where they cannot be asked.
func TestFingerprintsOfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	t.Run("go", func(t *testing.T) { checkCaptures(t, folder, nil, fingerprint.ByGo) })
	t.Run("kernel", func(t *testing.T) { checkCaptures(t, folder, openLab(t), fingerprint.ByKernel) })
}

func checkCaptures(t *testing.T, folder string, k fingerprint.Kernel, by string) {
	want := expectations(t, folder)
	catalogue, err := config.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, name := range captureNames(t, folder) {
		all, err := read(t, filepath.Join(folder, name), fingerprint.Options{Kernel: k, Catalogue: catalogue})
		if place := damaged[name]; (err != nil) != (place != "") || err != nil && !strings.HasPrefix(err.Error(), place) {
			t.Errorf("%s: %v, want damage at %q", name, err, place)
		}
		var ja4, ja3, p0f, muonfp []string
		for _, c := range all {
			if c.JA4 != "" {
				ja4 = append(ja4, hexFlow(c)+" "+c.JA4+" "+c.JA3)
				ja3 = append(ja3, c.JA3+" "+c.JA3Text)
			}
			if c.P0F != "" {
				p0f = append(p0f, p0fSide(c.Client)+"->"+p0fSide(c.Server)+" "+c.P0F)
			}
			if c.MuonFP != "" {
				muonfp = append(muonfp, hexFlow(c)+" "+c.MuonFP)
			}
			if (c.JA4 != "" || c.MuonFP != "") && c.By != by {
				t.Errorf("%s frame %d: by %q, want %q: %v", name, c.Frame, c.By, by, c.Notes)
			}
			if (c.JA4 == "") != (c.Reason != "") || (c.Reason == "") != (c.Why == "") {
				t.Errorf("%s frame %d: JA4 %q, reason %q, %q", name, c.Frame, c.JA4, c.Reason, c.Why)
			}
			known += len(c.Clients) + len(c.Stacks)
		}
		compare(t, name+" JA4 and JA3", want.ja4[name], ja4)
		compare(t, name+" JA3", want.ja3[name], ja3)
		if why := tunnelled[name]; why != "" {
			t.Logf("%s: SYNs left out: %s", name, why)
			continue
		}
		compare(t, name+" p0f", unique(want.p0f[name]), p0f)
		compare(t, name+" MuonFP", unique(want.muonfp[name]), muonfp)
	}
	if known < 10 {
		t.Errorf("the catalogue knows only %d of what is in the captures", known)
	}
}

// unique leaves out retransmissions: the tables have a row for each SYN, and here is one for each connection.
func unique(rows []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(rows)))
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

// hexFlow writes the addresses as most tables do.
func hexFlow(c fingerprint.Connection) string {
	return capture.Flow{Source: c.Client, Dest: c.Server}.String()
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

func read(t *testing.T, path string, o fingerprint.Options) (all []fingerprint.Connection, err error) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	c, err := fingerprint.OpenCapture(file)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	_, err = fingerprint.Read(c, o, func(c fingerprint.Connection) error {
		all = append(all, c)
		return nil
	})
	return all, err
}
