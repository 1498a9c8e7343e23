// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// denyScanners lists the SYNs that nmap (one option, MSS) and masscan (none) craft themselves.
const denyScanners = `rules:
  - {id: scan, label: scanner, score: 90}
features:
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
    - {rule: scan, muonfp: "1024:2:1440:"}
    - {rule: scan, muonfp: "1024:::"}
policy:
  default: {drop: 80}
`

// patience is how long a scanner may look. masscan waits for a packet before it looks at its clock again, so on a quiet
// wire it never ends by itself.
const patience = 8 * time.Second

// outside runs a program in the outer namespace for at most patience and returns what it prints.
func outside(t *testing.T, e *world.Edge, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: `make deps` installs it", err)
		}
		t.Skipf("left out: %v; `make deps` installs it", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	world.Must(t, e.Out.Start(cmd))
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out.String())
	}
	return out.String()
}

func TestRealScannersSeeNothing(t *testing.T) {
	e := world.NewEdge(t)
	origin, err := e.StartOrigin(t.Context(), lab.OriginOptions{})
	world.Must(t, err)
	t.Cleanup(func() { _ = origin.Close() })
	e.Start()
	target4, target6 := lab.EdgeAddr4.String(), lab.EdgeAddr6.String()
	scanners := []struct {
		name string
		scan func(t *testing.T) bool // whether it finds port 443 open
	}{
		{"nmap", func(t *testing.T) bool {
			out := outside(t, e, "nmap", "-n", "-Pn", "-sS", "-p443", "--max-retries", "1", target4)
			return strings.Contains(out, "443/tcp open")
		}},
		{"nmap over IPv6", func(t *testing.T) bool {
			out := outside(t, e, "nmap", "-6", "-n", "-Pn", "-sS", "-p443", "--max-retries", "1", target6)
			return strings.Contains(out, "443/tcp open")
		}},
		{"masscan", func(t *testing.T) bool {
			out := outside(t, e, "masscan", target4, "-p443", "--rate", "100", "--wait", "1", "--retries", "1", "-e", e.OutIf,
				"--adapter-ip", lab.ScannerPrefix4.Addr().Next().String(), "--adapter-mac", e.OutMAC.String(), "--router-mac",
				e.EdgeMAC.String())
			return strings.Contains(out, "port 443/tcp")
		}},
		{"nmap -sT, an ordinary client's SYN", func(t *testing.T) bool {
			out := outside(t, e, "nmap", "-n", "-Pn", "-sT", "-p443", "--max-retries", "1", target4)
			return strings.Contains(out, "443/tcp open")
		}},
	}
	for _, s := range scanners {
		if !s.scan(t) {
			t.Errorf("%s finds no open port before anything is denied", s.name)
		}
	}
	e.MustCLI("apply", e.WriteBundle("scanners", denyScanners), "--yes")
	for i, s := range scanners {
		ordinary := i == len(scanners)-1
		if found := s.scan(t); found != ordinary {
			t.Errorf("%s: port found open: %v, want %v", s.name, found, ordinary)
		}
	}
}
