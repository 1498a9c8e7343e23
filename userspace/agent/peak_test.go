// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// peakHost has room for a million prefixes.
const peakHost = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
capacity: {prefixes_v4: 1000000, prefixes_v6: 1000}
`

// peak is an agent in a process of its own, over a fake kernel, whose memory can be asked.
type peak struct {
	t      *testing.T
	host   *config.Host
	path   string
	cmd    *exec.Cmd
	client http.Client
}

func startPeak(t *testing.T) *peak {
	t.Helper()
	dir, err := os.MkdirTemp("", "spillway-peak-") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, path := writeHost(t, dir, peakHost, filepath.Join("/sys/fs/bpf", filepath.Base(dir)), "") // pins are locked
	p := &peak{t: t, host: h, path: path}
	p.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.Listen.Socket)
	}}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
		_ = os.RemoveAll(h.Paths.Pins) // where there is a bpffs, the lock made the folder
	})
	p.start()
	return p
}

// start starts the process and waits until it answers.
func (p *peak) start() {
	p.t.Helper()
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Env = append(os.Environ(), childVariable+"="+p.path, fakeVariable+"=1")
	said := &bytes.Buffer{}
	p.cmd.Stderr = said
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("the agent said:\n%.4000s", said)
		}
	})
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	c := api.NewClient(p.host.Listen.Socket)
	defer c.Close()
	answers(p.t, c)
}

// mib returns the most memory that the agent ever had (VmHWM).
func (p *peak) mib() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib >> 10
		}
	}
	p.t.Fatal("no VmHWM")
	return 0
}

// send posts a body and returns the status, and the code of a refusal; status 0 is a connection that was ended.
func (p *peak) send(path, kind string, length int64, body io.Reader) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest("POST", "http://s"+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.ContentLength = length
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	var reply struct{ Error *api.Error }
	_ = json.NewDecoder(resp.Body).Decode(&reply)
	if reply.Error == nil {
		return resp.StatusCode, ""
	}
	return resp.StatusCode, reply.Error.Code
}

// file is one file of an upload: its text again and again, up to a size.
type file struct {
	name, text string
	size       int64
}

// repeated reads a text again and again.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := 0
	if r.at > 0 { // what is left of the text that was begun
		n += copy(b[n:], r.text[r.at:])
		r.at = (r.at + n) % len(r.text)
	}
	rest := b[n:]
	for done := copy(rest, r.text); done > 0 && done < len(rest); done *= 2 {
		copy(rest[done:], rest[:done]) // whole texts, twice as many each time
	}
	r.at = (r.at + len(rest)) % len(r.text)
	return len(b), nil
}

// upload streams files as a bundle, which the sender does not hold either.
func upload(files ...file) (kind string, body io.ReadCloser) {
	r, w := io.Pipe()
	parts := multipart.NewWriter(w)
	go func() {
		w.CloseWithError(func() error {
			part, err := parts.CreateFormField("options")
			if err != nil {
				return err
			}
			if _, err := io.WriteString(part, "{}"); err != nil {
				return err
			}
			if part, err = parts.CreateFormFile("bundle", "bundle.tar"); err != nil {
				return err
			}
			archive := tar.NewWriter(part)
			for _, f := range files {
				if err := archive.WriteHeader(
					&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: f.size, Mode: 0o600}); err != nil {
					return err
				}
				if _, err := io.CopyN(archive, &repeated{text: f.text}, f.size); err != nil {
					return err
				}
			}
			if err := archive.Close(); err != nil {
				return err
			}
			return parts.Close()
		}())
	}()
	return parts.FormDataContentType(), r
}

const mebibyte = 1 << 20

// feed is a bundle whose list is the file of that name.
func feed(list file) []file {
	text := "version: 1\nname: feed\nrules: [{id: bad, label: denied, score: 100}]\n" +
		"features: {prefixes: [{list: own, rule: bad, file: own.netset, third_party: true}]}\n" +
		"policy: {default: {drop: 80}}\n"
	list.name = "own.netset"
	return []file{{config.BundleFile, text, int64(len(text))}, list}
}

// F8: whatever is sent, at its limit and beyond it, the agent's memory stays bounded. 200 MiB of newlines took 6.3 GB.
func TestF8PeakOfUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of MiB are sent")
	}
	yaml := "version: 1\nname: feed\n#"
	for _, row := range []struct {
		name  string
		files []file
		code  string
		most  int // MiB
	}{
		{"newlines in the YAML file", []file{{config.BundleFile, "\n", 200 * mebibyte}}, api.CodeTooLarge, 150},
		{"newlines in the YAML file at its limit", []file{{config.BundleFile, "\n", 8 * mebibyte}}, api.CodeRefused, 1000},
		{"the YAML file one byte beyond its limit", []file{{config.BundleFile, "\n", 8*mebibyte + 1}}, api.CodeTooLarge, 150},
		{"a comment as long as the YAML file may be", []file{{config.BundleFile, yaml, 8 * mebibyte}}, api.CodeRefused, 1000},
		{"marks in the YAML file", []file{{config.BundleFile, "- ", 8 * mebibyte}}, api.CodeRefused, 300},
		{"newlines in a list", feed(file{text: "\n", size: 64 * mebibyte}), api.CodeRefused, 300},
		{"faults in a list", feed(file{text: "x\n", size: 64 * mebibyte}), api.CodeRefused, 450},
		{"one prefix again and again", feed(file{text: "198.51.100.0/24\n", size: 17 * mebibyte}), api.CodeRefused, 400},
		{"one line", feed(file{text: "x", size: 64 * mebibyte}), api.CodeRefused, 300},
		{"a list as long as an upload may be",
			feed(file{text: "# a comment of some length, as feeds have them: nothing else is in here\n", size: 255 * mebibyte}),
			api.CodeRefused, 600},
		{"a list beyond it", feed(file{text: "\n", size: 257 * mebibyte}), api.CodeTooLarge, 150},
		{"many files", many0(5000), api.CodeTooLarge, 150},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			t.Parallel() // each has a process of its own
			p := startPeak(t)
			idle := p.mib()
			paths := []string{"/v1/plan", "/v1/rollouts"}
			if row.code != api.CodeTooLarge { // both read it in the same way, and it takes seconds
				paths = paths[:1]
			}
			for _, path := range paths {
				kind, body := upload(row.files...)
				status, code := p.send(path, kind, -1, body)
				// the answer may be lost to who goes on sending
				if code != row.code && !(status == 0 && row.code == api.CodeTooLarge) {
					t.Errorf("%s: status %d, code %q, want %s", path, status, code, row.code)
				}
				if got := p.mib(); got > row.most {
					t.Errorf("%s: peak %d MiB, want at most %d (idle %d)", path, got, row.most, idle)
				}
			}
			t.Logf("peak %d MiB, idle %d", p.mib(), idle)
		})
	}
}

func many0(n int) (files []file) {
	files = feed(file{text: "198.51.100.0/24\n", size: 16})
	for i := range n {
		files = append(files, file{fmt.Sprintf("f%d", i), "x", 1})
	}
	return files
}

// What is declared too long is refused before it is sent; JSON without end, at its first bytes too many.
func TestF8DeclaredLengths(t *testing.T) {
	p := startPeak(t)
	kind, body := upload(file{config.BundleFile, "\n", 1})
	if status, code := p.send("/v1/plan", kind, 1<<40, body); code != api.CodeTooLarge && status != 0 {
		t.Errorf("a terabyte that is declared: status %d, %s", status, code)
	}
	for _, path := range []string{"/v1/plan", "/v1/rollouts", "/v1/rollback", "/v1/reload", "/v1/bypass", "/v1/bans"} {
		endless := io.MultiReader(strings.NewReader(`{"reason":"`), io.LimitReader(&repeated{text: "x"}, 64*mebibyte))
		if status, code := p.send(path, "application/json", -1, endless); code != api.CodeTooLarge && status != 0 {
			t.Errorf("%s: JSON without end: status %d, %s", path, status, code)
		}
	}
	if got := p.mib(); got > 150 {
		t.Errorf("peak %d MiB", got)
	}
}

// Many bundles at once wait for room, or are told to come again: they never add up.
func TestF8ManyUploadsAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of MiB are sent")
	}
	p := startPeak(t)
	var wg sync.WaitGroup
	codes := make(chan string, 12)
	for range cap(codes) {
		wg.Go(func() {
			kind, body := upload(feed(file{text: "\n", size: 70 * mebibyte})...)
			_, code := p.send("/v1/plan", kind, -1, body)
			codes <- code
		})
	}
	wg.Wait()
	close(codes)
	seen := map[string]int{}
	for c := range codes {
		seen[c]++
	}
	if got := p.mib(); got > 600 || seen[api.CodeRefused] == 0 || seen[""] > 0 && seen[api.CodeBusy] == 0 {
		t.Errorf("peak %d MiB, answers %v", got, seen)
	}
	if status, code := p.send("/v1/rollback", "application/json", -1, bytes.NewReader(nil)); status == 0 ||
		code != api.CodeNoPrevious {
		t.Errorf("a rollback after it: status %d, %s", status, code)
	}
}

// F8: a host file without end is refused, at a reload too.
func TestF8PeakOfTheHostFile(t *testing.T) {
	p := startPeak(t)
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, &repeated{text: "\n"}, 200*mebibyte); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if status, code := p.send("/v1/reload", "application/json", -1, strings.NewReader("{}")); code != api.CodeRefused {
		t.Errorf("status %d, code %s", status, code)
	}
	if got := p.mib(); got > 200 {
		t.Errorf("peak %d MiB", got)
	}
}

// F8: what lies in the state folder is read up to its limit; a file beyond it, or without a line that can be read,
// takes no more, and the agent starts.
func TestF8PeakOfTheStateFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of MiB are written")
	}
	for _, row := range []struct {
		file, text string
		size       int64
		most       int
	}{
		{"record.json", "\n", 300 * mebibyte, 150},
		{"record.json", "{\"checksum\":", 4 * mebibyte, 150},
		{"quarantine.json", "[", 300 * mebibyte, 150},
		{"quarantine.json", "[", 4 * mebibyte, 150},
		{"bans.log", "\n", 300 * mebibyte, 150},
		{"bans.log", "{\"schema\":1}\n", 40 * mebibyte, 500},
		{"history.jsonl", "x", 300 * mebibyte, 150},
		{"history.jsonl", "{}\n", 17 * mebibyte, 200},
		{"host.json", "{", 300 * mebibyte, 300},
	} {
		t.Run(fmt.Sprintf("%s_%d_MiB_of_%q", row.file, row.size>>20, row.text[:1]), func(t *testing.T) {
			t.Parallel()
			p := startPeak(t)
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			_ = p.cmd.Wait()
			path := filepath.Join(p.host.Paths.State, row.file)
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(f, &repeated{text: row.text}, min(row.size, 40*mebibyte)); err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(row.size); err != nil { // the rest of what is too long is a hole
				t.Fatal(err)
			}
			_ = f.Close()
			p.start()
			for _, look := range []string{"/v1/status", "/v1/history", "/v1/bans"} {
				if _, err := overSocket(p.host.Listen.Socket, look); err != nil {
					t.Errorf("%s: %v", look, err)
				}
			}
			if got := p.mib(); got > row.most {
				t.Errorf("peak %d MiB, want at most %d", got, row.most)
			}
			t.Logf("peak %d MiB", p.mib())
		})
	}
}
