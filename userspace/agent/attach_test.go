// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/retry"
)

// An interface that was taken out of the host file while no agent ran is detached at the next start, as a reload does.
func TestInterfaceTakenOutWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.twoInterfaces()
	r.stop()
	r.writeHost(hostYAML)
	r.start()
	if len(r.machine.links) != 1 || r.machine.links["eth0"] == "" {
		t.Errorf("links %v", r.machine.links)
	}
	entries, _, err := r.store.History(2)
	if err != nil || entries[1].Verb != "reload" || strings.Join(entries[1].Detail, "") != "detached from eth1" {
		t.Errorf("history %+v, %v", entries, err)
	}
}

// One that cannot be detached is told by status and verify, and tried again.
func TestInterfaceThatStaysAttachedIsTold(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.twoInterfaces()
	r.stop()
	r.writeHost(hostYAML)
	r.machine.fail["DetachInterface"] = errors.New("the kernel says no")
	r.start()
	s, err := r.Status(ctx)
	if err != nil || !hasProblem(s, ledger.ProblemUnnamed) {
		t.Fatalf("problems %v, %v", s.Problems, err)
	}
	v, err := r.plane.Rows.Verify(ctx)
	if err != nil || v.OK || len(v.Entries) != 1 || v.Entries[0].Where != "interface eth1" {
		t.Errorf("verification %+v, %v", v, err)
	}
	delete(r.machine.fail, "DetachInterface")
	r.pass(5 * time.Second)
	if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemUnnamed) || len(r.machine.links) != 1 {
		t.Errorf("problems %v, links %v", s.Problems, r.machine.links)
	}
}

// A device was renamed, or came back under its name as another one: the link is where the device is, and the name is
// not protected.
func TestNameThatIsAnotherDevice(t *testing.T) {
	for name, index := range map[string]int{"another": 7} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			tried := r.machine.did("Attach")
			r.devices = map[string]int{"eth0": index}
			r.machine.fail["Attach eth0"] = loader.ErrNoDevice
			r.tick(true) // a name that changes is an event
			if r.machine.did("Attach") != tried+1 {
				t.Error("nobody attaches to the device that has the name now")
			}
			s, err := r.Status(ctx)
			if err != nil || s.Protected || s.Interfaces[0].Protected || s.Interfaces[0].State != "failed" {
				t.Errorf("%+v, %v", s.Interfaces, err)
			}
			delete(r.machine.fail, "Attach eth0")
			r.devices = nil
			r.pass(2 * retry.Last)
			if s, _ := r.Status(ctx); !s.Protected {
				t.Errorf("%+v", s.Interfaces)
			}
		})
	}
}

// F20: a device that is renamed keeps its program, so it is followed: nothing is attached or detached, and status shows
// both names. The host file may then say the new one.
func TestF20RenamedInterfaceIsFollowed(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.devices, r.machine.renamed = map[string]int{"eth0": 0, "wan0": fakeIndex}, "wan0"
	for range 2 { // and after a restart
		r.pass(2 * retry.Last)
		s, err := r.Status(ctx)
		if err != nil || !s.Protected || s.Interfaces[0].Name != "eth0" || s.Interfaces[0].Now != "wan0" ||
			!hasProblem(s, "renamed") {
			t.Errorf("%+v, %v, %v", s.Interfaces, s.Problems, err)
		}
		if len(r.machine.links) != 1 || r.machine.did("DetachInterface") != 0 {
			t.Errorf("links %v", r.machine.links)
		}
		r.restart()
	}
	r.writeHost(strings.Replace(hostYAML, "{name: eth0}", "{name: wan0}", 1))
	r.machine.adopts = "eth0" // the loader finds the link by the device's number
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	s, err := r.Status(ctx)
	if err != nil || hasProblem(s, "renamed") || hasProblem(s, ledger.ProblemUnnamed) || len(r.machine.links) != 1 ||
		r.machine.lastLink != 1 || r.machine.did("DetachInterface") != 0 {
		t.Errorf("%+v, %v, links %v", s.Interfaces, s.Problems, r.machine.links)
	}
}

func (r *rig) twoInterfaces() {
	r.t.Helper()
	r.writeHost(strings.Replace(hostYAML, "{name: eth0}", "{name: eth0}, {name: eth1}", 1))
	r.restart()
}

// A link that another state made is told and left alone: whoever made it may need it.
func TestF4LinkOfAnotherStateStays(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.machine.links["eth1"], r.machine.linkIDs["eth1"] = loader.StateAttached, 99
	r.start()
	r.pass(time.Minute)
	s, err := r.Status(ctx)
	if err != nil || !hasProblem(s, ledger.ProblemUnnamed) || r.machine.did("DetachInterface") != 0 ||
		len(r.machine.links) != 2 {
		t.Errorf("problems %v, %v; links %v", s.Problems, err, r.machine.links)
	}
}

// Whatever removes a link again and again: three attaches in ten minutes, then it waits and says so. The wait outlives
// the agent, and a reload ends it.
func TestF4FlappingInterfaceWaits(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	attaches := func() uint32 { return r.machine.lastLink }
	cut := func(d time.Duration) {
		r.machine.links["eth0"] = loader.StateSevered
		r.pass(d)
		r.pass(d)
	}
	for range 60 {
		cut(retry.Last / 30)
	}
	if attaches() != plane.FlapAttaches {
		t.Errorf("%d attaches within four minutes", attaches())
	}
	r.restart()
	s, err := r.Status(ctx)
	if err != nil || !hasProblem(s, plane.CodeAttachHeld) || s.Protected || attaches() != plane.FlapAttaches {
		t.Errorf("%d attaches, problems %v, %v", attaches(), s.Problems, err)
	}
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	r.tick(false)
	if s, _ := r.Status(ctx); hasProblem(s, plane.CodeAttachHeld) || !s.Protected || attaches() != plane.FlapAttaches+1 {
		t.Errorf("a reload: %d attaches, problems %v", attaches(), s.Problems)
	}
	for range 6 {
		cut(time.Second)
	}
	if attaches() != plane.FlapAttaches+3 {
		t.Errorf("%d attaches", attaches())
	}
	r.pass(plane.FlapWindow)
	r.pass(retry.Last)
	if s, _ := r.Status(ctx); !s.Protected || attaches() != plane.FlapAttaches+4 {
		t.Errorf("ten minutes later: %d attaches, problems %v", attaches(), s.Problems)
	}
}

// A start into an empty pin folder is no lost link, however often it happens.
func TestF4StartsAfterADetachAreNoFlaps(t *testing.T) {
	r := newRig(t)
	for range 2 * plane.FlapAttaches {
		r.reboot()
		if s, err := r.Status(ctx); err != nil || hasProblem(s, plane.CodeAttachHeld) ||
			s.Interfaces[0].State != loader.StateAttached {
			t.Fatalf("%+v, %v", s.Problems, err)
		}
	}
}
