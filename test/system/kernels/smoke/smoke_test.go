// SPDX-License-Identifier: Apache-2.0

package smoke

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/lab"
)

func TestLifeOfADataplane(t *testing.T) {
	plane.Need(t)
	l, err := lab.New(t.Context(), lab.Options{Name: "smoke"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	if _, err := l.StartOrigin(t.Context(), lab.OriginOptions{ForceEmbedded: true}); err != nil {
		t.Fatal(err)
	}
	pins := testPins(t)
	visitors, err := l.StartVisitors(t.Context(), lab.VisitorOptions{Rate: 4, Timeout: 30 * time.Second, AtOnce: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer visitors.Stop()

	holder := startHolder(t, l, pins)
	wantDropped(t, l, "attached by another process", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	wantDropped(t, l, "its loader was killed", lab.CrawlerPrefix4, lab.CrawlerPrefix6)

	d := adopt(t, l, pins)
	swapAndBack(t, l, d)

	d.SetBypass(loader.DeadlineForever)
	wantServed(t, l, "bypass on", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	d.SetBypass(0)
	wantDropped(t, l, "bypass off", lab.CrawlerPrefix4, lab.CrawlerPrefix6)

	if err := d.Detach(); err != nil {
		t.Error(err)
	}
	wantServed(t, l, "detached", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	if _, err := os.Stat(pins); !os.IsNotExist(err) {
		t.Errorf("pins after detaching: %v", err)
	}
	seen := visitors.Stop()
	if seen.Failures != 0 || seen.Requests == 0 {
		t.Errorf("visitors: %d of %d requests failed: %v", seen.Failures, seen.Requests, seen.Errors)
	}
	t.Logf("visitors: %d requests over TLS, none failed", seen.Requests)
}

// startHolder loads and attaches in a process of its own.
func startHolder(t *testing.T, l *lab.Lab, pins string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderEnv+"="+pins)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Edge.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "attached\n" {
		t.Fatalf("the process that attaches said %q: %v", line, err)
	}
	return cmd
}

// adopt opens what the killed process left, without touching traffic.
func adopt(t *testing.T, l *lab.Lab, pins string) (d *loader.Dataplane) {
	t.Helper()
	err := l.Edge.Do(func() (err error) {
		if d, err = loader.Open(loader.Options{Pins: pins, Capacity: plane.WebHost().Capacity}); err != nil {
			return err
		}
		before, err := d.Attachments()
		if err != nil {
			return err
		}
		a, err := d.Attach(l.EdgeIf, config.AttachNative)
		if err == nil && (len(before) != 1 || before[0] != a || a.State != loader.StateAttached) {
			t.Errorf("adopted %+v, attached %+v", before, a)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if drifts, err := d.VerifyWiring(); err != nil || len(drifts) > 0 {
		t.Errorf("wiring after adoption: %v, %v", drifts, err)
	}
	wantDropped(t, l, "adopted", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	return d
}

// swapAndBack publishes a generation that denies others, and rolls it back.
func swapAndBack(t *testing.T, l *lab.Lab, d *loader.Dataplane) {
	t.Helper()
	if err := publish(d, deny(lab.ScannerPrefix4, lab.ScannerPrefix6)); err != nil {
		t.Fatal(err)
	}
	wantServed(t, l, "swapped", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	wantDropped(t, l, "swapped", lab.ScannerPrefix4, lab.ScannerPrefix6)
	if _, err := d.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantDropped(t, l, "rolled back", lab.CrawlerPrefix4, lab.CrawlerPrefix6)
	wantServed(t, l, "rolled back", lab.ScannerPrefix4, lab.ScannerPrefix6)
}
