// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

func TestKernelDeviceThatComesBack(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.in(s.deleteVeth)
	eventually(t, "the loss is seen", func() error { return s.protected(false) })
	s.in(s.addVeth)
	eventually(t, "attached again", func() error { return s.protected(true) })
}

// A device is renamed, and another gets its name: the new one is protected, although the old link still holds.
func TestKernelDeviceUnderAnothersName(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	before, err := s.client.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s.in(func() error {
		for from, to := range map[string]string{"sw0": "old0", "sw1": "old1"} {
			l, err := netlink.LinkByName(from)
			if err != nil {
				return err
			}
			if err := errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, to), netlink.LinkSetUp(l)); err != nil {
				return err
			}
		}
		return s.addVeth()
	})
	eventually(t, "the new device is attached", func() error {
		now, err := s.client.Status(context.Background())
		if err != nil {
			return err
		}
		if !now.Protected || now.Interfaces[0].Index == before.Interfaces[0].Index {
			return fmt.Errorf("%+v, before %+v", now.Interfaces, before.Interfaces)
		}
		return nil
	})
}

// F20: a device that is renamed goes on blocking, and status said "everything passes"; the fix was impossible. It is
// followed by its number, over a restart, and the host file may say the new name: the link stays the same throughout.
func TestKernelF20RenamedDevice(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	k := s.kernel()
	before, err := k.Attachments()
	if err != nil {
		t.Fatal(err)
	}
	same := func(name, now string) {
		t.Helper()
		eventually(t, "the device is told under "+name, func() error {
			st, err := s.client.Status(context.Background())
			if err == nil &&
				(!st.Protected || len(st.Interfaces) != 1 || st.Interfaces[0].Name != name || st.Interfaces[0].Now != now) {
				err = fmt.Errorf("%+v", st)
			}
			return err
		})
		time.Sleep(tickInterval * 3 / 2) // it goes on looking
		if now, err := k.Attachments(); err != nil || !slices.Equal(now, before) {
			t.Errorf("links %+v, were %+v, %v", now, before, err)
		}
	}
	s.in(func() error {
		l, err := netlink.LinkByName("sw0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, "wan0"), netlink.LinkSetUp(l))
	})
	same("sw0", "wan0")
	s.kill()
	s.start()
	same("sw0", "wan0")
	s.editHost("name: sw0", "name: wan0")
	if _, err := s.client.Reload(context.Background(), api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	same("wan0", "")
	if st, err := s.client.Status(context.Background()); err != nil || len(st.Problems) > 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// Somebody removes everything that is pinned. Nothing is lost: the agent still holds it.
func TestKernelPinsThatWereRemoved(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	if _, err := s.client.Ban(context.Background(), api.BanRequest{Prefix: "2001:db8::7", ForSeconds: 600}); err != nil {
		t.Fatal(err)
	}
	before := s.kernel().Control()
	aside := s.host.Paths.Pins + "-aside" // in one step, or the agent pins again what is being removed
	if err := errors.Join(os.Rename(s.host.Paths.Pins, aside), os.RemoveAll(aside)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pinned and attached again", func() error {
		if _, err := os.Stat(filepath.Join(s.host.Paths.Pins)); err != nil {
			return err
		}
		return s.protected(true)
	})
	s.kill()
	s.start()
	s.wantStable("one", false)
	list, err := s.client.Bans(context.Background())
	if now := s.kernel().Control(); err != nil || len(list.Bans) != 1 || now != before {
		t.Errorf("bans %+v, %v; control %+v, was %+v", list, err, now, before)
	}
}

// Two agents with sockets and state folders of their own on one pin folder attached and detached 60 times a second. The
// second one ends and names the first; a killed one leaves no lock behind.
func TestKernelF4TwoAgentsOnOnePinFolder(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	k := s.kernel()
	before, err := k.Attachments()
	if err != nil {
		t.Fatal(err)
	}
	host, path := writeUnitHost(t, strings.Replace(kernelHost, "sw0", "sw1", 1), s.host.Paths.Pins)
	second := func(enough func() bool) string {
		cmd := asUnit(t, host, path)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		s.in(cmd.Start)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the second agent ended well")
				}
				return said.String()
			default:
			}
			if enough() || time.Now().After(end) {
				_ = cmd.Process.Kill()
				<-ended
				return said.String()
			}
		}
	}
	if said := second(func() bool { return false }); !strings.Contains(said,
		fmt.Sprintf("process %d", s.child.Process.Pid)) {
		t.Errorf("the second agent said: %s", said)
	}
	if now, err := k.Attachments(); err != nil || !slices.Equal(now, before) {
		t.Errorf("links %+v, were %+v, %v", now, before, err)
	}
	// Without the first, the second takes the pins, and leaves alone what it did not attach.
	s.kill()
	said := second(func() bool {
		now, err := k.Attachments()
		return err == nil && len(now) > len(before)
	})
	if strings.Contains(said, "another agent") {
		t.Errorf("the lock of a killed agent is left: %s", said)
	}
	now, err := k.Attachments()
	if err != nil || len(now) != 2 ||
		!slices.ContainsFunc(now, func(at loader.Attachment) bool { return at == before[0] }) {
		t.Errorf("links %+v, were %+v, %v", now, before, err)
	}
}

func (s *site) protected(want bool) error {
	got, err := s.client.Status(context.Background())
	if err != nil {
		return err
	}
	if got.Protected != want {
		return fmt.Errorf("protected %v, interfaces %+v", got.Protected, got.Interfaces)
	}
	return nil
}
