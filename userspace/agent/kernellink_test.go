// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

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
