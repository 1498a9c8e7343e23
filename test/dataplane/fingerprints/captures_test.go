// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/userspace/fingerprint"
)

// damaged captures end with an error at this place.
var damaged = map[string]string{
	"suricata-verify/bug-1450-04__tls_DER-incomplete-header.pcap":  "damaged at frame 7, byte 5035: ",
	"suricata-verify/bug-1450-05__tls_DER-incomplete-content.pcap": "damaged at frame 7, byte 5035: ",
}

// tunnelled captures have TCP inside another IP packet. Who sent the outer one is who is judged, so the dataplane does
// not look inside, and neither does this command.
var tunnelled = map[string]string{
	"arkime/gre-sample.pcap":     "GRE",
	"arkime/tcpdump-geneve.pcap": "Geneve, over UDP",
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
	for _, row := range capture.JA3(t, folder) {
		e.ja3[row[0]] = append(e.ja3[row[0]], row[2]+" "+row[3])
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
	listed, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, name := range capture.Names(t, folder) {
		all, err := read(t, filepath.Join(folder, name), fingerprint.Options{Kernel: k, Catalogue: listed})
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
				p0f = append(p0f, capture.P0fSide(c.Client)+"->"+capture.P0fSide(c.Server)+" "+c.P0F)
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
		capture.Compare(t, name+" JA4 and JA3", want.ja4[name], ja4)
		capture.Compare(t, name+" JA3", want.ja3[name], ja3)
		if why := tunnelled[name]; why != "" {
			t.Logf("%s: SYNs left out: %s", name, why)
			continue
		}
		capture.Compare(t, name+" p0f", unique(want.p0f[name]), p0f)
		capture.Compare(t, name+" MuonFP", unique(want.muonfp[name]), muonfp)
	}
	if known < 10 {
		t.Errorf("the catalogue knows only %d of what is in the captures", known)
	}
}

// unique leaves out retransmissions: the tables have a row for each SYN, and here is one for each connection.
func unique(rows []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(rows)))
}

// hexFlow writes the addresses as most tables do.
func hexFlow(c fingerprint.Connection) string {
	return capture.Flow{Source: c.Client, Dest: c.Server}.String()
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
