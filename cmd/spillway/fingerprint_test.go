// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/userspace/api"
)

func TestFingerprintOfFiles(t *testing.T) {
	s := newShell(t)
	path := s.write("visitors.pcap", string(writePcap(t, firstCapture())))
	s.want(exitOK, "fingerprint", path)
	golden(t, "fingerprint", s.stdout)
	golden(t, "fingerprint-stderr", s.stderr)
	text := s.stdout

	s.want(exitOK, "fingerprint", path, "-o", "json")
	golden(t, "fingerprint-json", s.stdout)
	if s.stderr != "" {
		t.Errorf("stderr with JSON: %s", s.stderr)
	}
	for line := range strings.Lines(s.stdout) {
		if err := json.Unmarshal([]byte(line), &map[string]any{}); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	// The same packets in another format, by standard input, and zipped.
	ng := writeNG(t, firstCapture())
	s.env.stdin = bytes.NewReader(ng)
	s.want(exitOK, "fingerprint", "-")
	if diff := cmp.Diff(text, s.stdout); diff != "" {
		t.Errorf("pcapng of raw IP on standard input (-pcap +pcapng):\n%s", diff)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(ng); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	s.want(exitOK, "fingerprint", s.write("visitors.pcapng.gz", zipped.String()))
	if diff := cmp.Diff(text, s.stdout); diff != "" {
		t.Errorf("zipped pcapng (-pcap +pcapng):\n%s", diff)
	}
}

// The dataplane's own programs say the same.
func TestFingerprintByTheKernel(t *testing.T) {
	s := newShell(t)
	s.env.kernel = probe.Open
	path := s.write("visitors.pcap", string(writePcap(t, firstCapture())))
	s.want(exitOK, "fingerprint", path)
	if strings.Contains(s.stderr, "not asked") {
		if os.Getenv("CI") == "true" {
			t.Fatal(s.stderr)
		}
		t.Skip("left out: " + s.stderr)
	}
	want, err := os.ReadFile("testdata/fingerprint.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "by go", "by kernel"), s.stdout); diff != "" {
		t.Errorf("(-by go +by the kernel):\n%s", diff)
	}
}

func TestFingerprintOfDamagedCaptures(t *testing.T) {
	s := newShell(t)
	whole := writePcap(t, firstCapture()[:4])
	s.want(exitError, "fingerprint", s.write("cut.pcap", string(whole[:len(whole)-1])))
	s.wantOut("198.51.100.7:40112 > 192.0.2.1:443") // what comes before is told
	s.wantErr("cut.pcap: damaged at frame 4, byte ")
	s.wantErr("the file ends inside it")
	s.want(exitError, "fingerprint", s.write("text.pcap", "no capture at all"))
	s.wantErr(`no capture: it begins with "no c"`)
	s.want(exitError, "fingerprint", s.write("empty.pcap", ""))
	s.wantErr("empty")
	s.want(exitError, "fingerprint", s.write("head.pcap", string(whole[:10])))
	s.wantErr("it ends there")
	s.want(exitError, "fingerprint", s.dir)
	s.wantErr("is a directory")
	s.want(exitError, "fingerprint", s.dir+"/none")
	s.wantErr("no such file")
	s.want(exitOK, "fingerprint", s.write("nothing.pcap", string(writePcap(t, nil))))
	s.wantErr("0 TCP connections in 0 frames.")
}

// Without privilege the answers are there, and what they are is said.
func TestFingerprintWithoutPrivilege(t *testing.T) {
	s := newShell(t)
	s.env.kernel = func() (*probe.Probe, error) { return nil, loader.ErrPermission }
	s.want(exitOK, "fingerprint", s.write("visitors.pcap", string(writePcap(t, firstCapture()))))
	s.wantErr("The dataplane is not asked, this program reads the capture itself: permission denied")
	s.wantOut("(frame 1, by go)")
}

// Somebody who ends a pipe with Ctrl-C sees what came until then.
func TestFingerprintUntilInterrupted(t *testing.T) {
	s := newShell(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.ctx = ctx
	r, w := io.Pipe()
	s.env.stdin = r
	go func() {
		_, _ = w.Write(writePcap(t, firstCapture()[:2]))
		_, _ = w.Write(nil) // returns when the bytes before it have been taken
		cancel()
	}()
	s.want(exitOK, "fingerprint", "-")
	s.wantOut("203.0.113.9:60000 > 192.0.2.1:443")
	_ = r.Close()
}

// A reader who leaves ends it quietly.
func TestFingerprintIntoHead(t *testing.T) {
	s := newShell(t)
	var many [][]byte
	for port := range uint16(5000) {
		from := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), 1024+port)
		many = append(many,
			peer{from, netip.MustParseAddrPort("192.0.2.1:443")}.packet(synFlag, uint32(port), linuxOptions, nil))
	}
	path := s.write("many.pcap", string(writePcap(t, many)))
	for _, format := range []string{"table", "json"} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := s.spillway("fingerprint", path, "-o", format)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = writer, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		writer.Close()
		if _, err := reader.Read(make([]byte, 1)); err != nil {
			t.Errorf("nothing was printed: %v", err)
		}
		reader.Close()
		err = c.Wait()
		var exit *exec.ExitError
		quiet := err == nil || errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGPIPE
		if !quiet || strings.Contains(stderr.String(), "spillway:") {
			t.Errorf("-o %s: %v, stderr %q; want a quiet end", format, err, stderr.String())
		}
	}
}

func TestFingerprintUsage(t *testing.T) {
	for line, says := range map[string]string{
		"fingerprint":                      "one FILE",
		"fingerprint a b":                  "one FILE",
		"fingerprint a --live":             "not both",
		"fingerprint a --count 3":          "--live only",
		"fingerprint a --service web":      "--live only",
		"fingerprint --live --count -1":    "--count",
		"fingerprint --live --count three": "--count",
	} {
		s := newShell(t)
		s.want(exitUsage, strings.Fields(line)...)
		s.wantErr(says)
	}
}

func TestFingerprintLive(t *testing.T) {
	s := newShell(t)
	s.want(exitNoAgent, "fingerprint", "--live")
	a := startAgent(s)
	a.answer("GET /v1/status", healthy())
	event := api.Event{Envelope: api.NewEnvelope(), Sequence: 1, Time: now, Source: "203.0.113.7",
		SourcePort: 40112, Service: "web",
		Stage: "payload", Reason: "no_match", Verdict: "pass", MuonFP: "64240:2-4-8-1-3:1460:7",
		P0F: "4:64+0:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
		JA4: "t13d1516h2_8daaf6152771_02713d6af862", StableJA4: "t13d1515h2_8daaf6152771_d32726be76dc"}
	syn, blocked, plain, elsewhere := event, event, event, event
	syn.Stage, syn.JA4, syn.StableJA4 = "syn", "", ""
	blocked = syn
	blocked.Verdict, blocked.Reason, blocked.MuonFP, blocked.P0F = "drop", "tcp_fingerprint", "1024:2:1460:", ""
	plain.JA4, plain.StableJA4, plain.MuonFP, plain.P0F, plain.Reason = "", "", "", "", "not_hello"
	plain.Source = "2001:db8::/48"
	plain.SourcePort = 0
	elsewhere.Service = "shop"
	a.answer("GET /v1/events", []api.Event{syn, event, blocked, plain, elsewhere})
	s.want(exitOK, "fingerprint", "--live")
	golden(t, "fingerprint-live", s.stdout)
	s.wantErr("every connection, as it comes")
	if query, _ := a.wasAsked(t, "GET /v1/events"); query.Get("follow") != "true" || query.Get("all") != "true" {
		t.Errorf("asked with %v", query)
	}
	s.want(exitOK, "fingerprint", "--live", "--service", "shop", "-o", "json")
	if n := strings.Count(s.stdout, "\n"); n != 1 || !strings.Contains(s.stdout, `"clients":[{"name":"Chrome"`) {
		t.Errorf("%d lines of JSON, want 1:\n%s", n, s.stdout)
	}
	s.want(exitOK, "fingerprint", "--live", "--count", "1")
	if n := strings.Count(s.stdout, "\n"); n != 2 {
		t.Errorf("%d lines, want the heading and 1:\n%s", n, s.stdout)
	}
	s.want(exitError, "fingerprint", "--live", "--service", "shopp")
	s.wantErr("did you mean shop?")
}
