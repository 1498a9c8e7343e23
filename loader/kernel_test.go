// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// needKernel says once what is missing for tests that load programs; in CI that is a failure.
func needKernel(t *testing.T) {
	t.Helper()
	if missing := kernel.MissingCapabilities(); len(missing) > 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("these tests load programs into the kernel; missing: %v", missing)
		}
		t.Skipf("left out: loading programs needs %v", missing)
	}
}

// testPins returns a pin folder of the test's own, taken away afterwards.
func testPins(t *testing.T) string {
	t.Helper()
	needKernel(t)
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatalf("mount bpffs: %v", err)
		}
	}
	folder := filepath.Join("/sys/fs/bpf", fmt.Sprintf("spillway-loader-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	t.Cleanup(func() {
		if err := DetachPins(folder); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return folder
}

func openTest(t *testing.T, o Options) *Dataplane {
	t.Helper()
	needKernel(t)
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func testHost() *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: 443, Kind: config.KindTLS, Local: true},
		{Name: "dns", Addresses: []config.Address{{IP: netip.MustParseAddr("192.0.2.1")}}, Port: 53,
			Kind: config.KindUDP, Local: true},
	}
	h.Allowlist = []config.AllowEntry{{Prefix: netip.MustParsePrefix("198.51.100.7/32")}}
	return h
}

func testBundle(prefixes ...string) *config.Bundle {
	b := &config.Bundle{
		Version: 1, Name: "test",
		Rules:  []config.Rule{{ID: "bad", Label: "bad", Score: 100}},
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}},
		Digest: config.Digest{1, 2, 3},
	}
	l := config.PrefixList{List: "own", Rule: "bad"}
	for _, p := range prefixes {
		l.Entries = append(l.Entries, netip.MustParsePrefix(p))
	}
	if len(prefixes) > 0 {
		b.Prefixes = []config.PrefixList{l}
	}
	return b
}

// publish compiles, builds and publishes host and bundle at once, and makes the agent look alive.
func publish(t *testing.T, d *Dataplane, h *config.Host, b *config.Bundle) *compile.Image {
	t.Helper()
	hostImage, img := compiled(t, d, h, b)
	hostSlot, err := d.BuildHost(hostImage)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := d.Build(img)
	if err != nil {
		t.Fatal(err)
	}
	mode := ModeOf(h.MaxMode)
	if _, err := d.Publish(Change{Host: &hostSlot, Stable: &slot, Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	d.Beat()
	return img
}

func compiled(t *testing.T, d *Dataplane, h *config.Host, b *config.Bundle) (*compile.HostImage, *compile.Image) {
	t.Helper()
	current, err := d.Host()
	if err != nil {
		t.Fatal(err)
	}
	hostImage, err := compile.HostFile(h, current, 1)
	if err != nil {
		t.Fatal(err)
	}
	number, err := d.NextNumber()
	if err != nil {
		t.Fatal(err)
	}
	img, err := compile.Bundle(b, hostImage, number, Now())
	if err != nil {
		t.Fatal(err)
	}
	return hostImage, img
}

// syn is the smallest SYN over IPv4, without options.
func syn(src, dst string, dport uint16) []byte {
	f := make([]byte, 14+20+20)
	f[12], f[13] = 0x08, 0x00
	ip := f[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 40, 64, 6
	copy(ip[12:], netip.MustParseAddr(src).AsSlice())
	copy(ip[16:], netip.MustParseAddr(dst).AsSlice())
	tcp := ip[20:]
	tcp[0], tcp[1], tcp[2], tcp[3] = 0x9c, 0x40, byte(dport>>8), byte(dport)
	tcp[12], tcp[13] = 5<<4, 2
	return f
}

// payload makes a segment with data of a SYN: the first bytes that the connection sends.
func payload(syn, data []byte) []byte {
	f := append(append([]byte{}, syn...), data...)
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[14+20+7]++       // seq = ISN + 1
	f[14+20+13] = 0x10 // ACK
	return f
}

const (
	xdpDrop = 1
	xdpPass = 2
)

func run(t *testing.T, d *Dataplane, frame []byte) uint32 {
	t.Helper()
	action, _, err := d.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return action
}

func wantAction(t *testing.T, d *Dataplane, what string, frame []byte, want uint32) {
	t.Helper()
	if got := run(t, d, frame); got != want {
		t.Errorf("%s: XDP action %d, want %d", what, got, want)
	}
}
