// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// An interface that was taken out of the host file while no agent ran is detached at the next start, as a reload does.
func TestInterfaceTakenOutWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.machine.links["eth1"] = loader.StateAttached
	r.start()
	if len(r.machine.links) != 1 || r.machine.links["eth0"] == "" {
		t.Errorf("links %v", r.machine.links)
	}
	entries, _, err := r.store.History(1)
	if err != nil || entries[0].Verb != "reload" || strings.Join(entries[0].Detail, "") != "detached from eth1" {
		t.Errorf("history %+v, %v", entries, err)
	}
}

// One that cannot be detached is told by status and verify, and tried again.
func TestInterfaceThatStaysAttachedIsTold(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.machine.links["eth1"] = loader.StateAttached
	r.machine.fail["DetachInterface"] = errors.New("the kernel says no")
	r.start()
	s, err := r.Status(ctx)
	if err != nil || !hasProblem(s, problemUnnamed) {
		t.Fatalf("problems %v, %v", s.Problems, err)
	}
	v, err := r.Verify(ctx)
	if err != nil || v.OK || len(v.Entries) != 1 || v.Entries[0].Where != "interface eth1" {
		t.Errorf("verification %+v, %v", v, err)
	}
	delete(r.machine.fail, "DetachInterface")
	r.tick(false)
	if s, _ := r.Status(ctx); hasProblem(s, problemUnnamed) || len(r.machine.links) != 1 {
		t.Errorf("problems %v, links %v", s.Problems, r.machine.links)
	}
}

// A device was renamed, or came back under its name as another one: the link is where the device is, and the name is not
// protected.
func TestNameThatIsAnotherDevice(t *testing.T) {
	for name, index := range map[string]int{"another": 7, "none": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			tried := r.machine.did("Attach")
			r.devices = map[string]int{"eth0": index}
			r.machine.fail["Attach eth0"] = loader.ErrNoDevice
			r.tick(false)
			if r.machine.did("Attach") != tried+1 {
				t.Error("nobody attaches to the device that has the name now")
			}
			s, err := r.Status(ctx)
			if err != nil || s.Protected || s.Interfaces[0].Protected || s.Interfaces[0].State != "failed" {
				t.Errorf("%+v, %v", s.Interfaces, err)
			}
			delete(r.machine.fail, "Attach eth0")
			r.devices = nil
			r.pass(2 * lastRetry)
			if s, _ := r.Status(ctx); !s.Protected {
				t.Errorf("%+v", s.Interfaces)
			}
		})
	}
}
