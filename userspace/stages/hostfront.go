// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// HostFront lets come in stages what the host file in force lets be blocked that the one before did not.
type HostFront struct {
	front *Front
	files release.HostFiles
	st    *Stages
}

// HostOf is the front of that.
func HostOf(f *Front) HostFront { return HostFront{f, f.Manager.HostFiles(), f.stages} }

// waits reports whether nobody asked for the change yet, which was found at a start, or whose agent ended between the
// reload and its rollout; or whether something brings another one.
func (hf HostFront) waits() bool {
	return hf.front.Staged() && (hf.unasked() || hf.files.Published() && hf.other(hf.files.Change()) != nil)
}

func (hf HostFront) unasked() bool {
	return hf.files.Waits() && hf.st.Ledger.Record().HostAsked != hf.files.Change()
}

func (hf HostFront) takeUp() {
	if !hf.waits() {
		return
	}
	hf.End(ledger.Itself())
	if !hf.unasked() {
		return
	}
	change := hf.files.Change()
	_, err := hf.Start(ledger.Itself(), "the host file was found changed", "")
	if err != nil && !isNotNow(err) {
		hf.st.Log.Error("the change of the host file does not come in stages", "error", err)
		hf.asked(change)
	}
}

// Start lets the change come in stages. What brings another one ends. One that is held stays so, unless somebody says
// why it shall begin again. nil: nothing is in force yet that could be compiled for it.
func (hf HostFront) Start(by api.Caller, reason, accept string) (*api.Rollout, error) {
	if !hf.files.Waits() {
		return nil, nil
	}
	w, err := hf.files.Order(by, reason, accept)
	if err != nil {
		return nil, err
	}
	hf.end(by, w.Order.Digest)
	same := hf.st.told.find(func(ro *api.Rollout) bool {
		return brings(ro, w.Order.Digest) && (!ro.Over() || ro.State == api.RolloutHeld && accept == "")
	})
	if same != nil {
		same.Outcome = api.OutcomeUnchanged
		hf.asked(w.Order.Digest)
		return same, nil
	}
	ro, err := hf.front.hand(w)
	if err == nil {
		hf.asked(w.Order.Digest)
	}
	return ro, err
}

func brings(ro *api.Rollout, change config.Digest) bool {
	return ro.Name == config.HostMember && ro.Digest == change
}

// End ends what brings the change of a host file that is not in force any more.
func (hf HostFront) End(by api.Caller) { hf.end(by, hf.files.Change()) }

// other is a rollout that brings another change; nil for none.
func (hf HostFront) other(but config.Digest) *api.Rollout {
	return hf.st.told.find(func(ro *api.Rollout) bool {
		return ro.Name == config.HostMember && ro.Digest != but && !ro.Over()
	})
}

func (hf HostFront) end(by api.Caller, but config.Digest) {
	for ro := hf.other(but); ro != nil; ro = hf.other(but) {
		said, err := hf.st.Do(rollout.Command{Verb: rollout.VerbAbort, ID: ro.ID, By: by.User, UID: by.UID,
			Reason: "another host file is in force"})
		if err != nil || len(said) == 0 {
			return
		}
	}
}

func (hf HostFront) asked(change config.Digest) {
	_ = hf.st.Ledger.Update(func(r *state.Record) { r.HostAsked = change })
}

// problems say that the host file in force does not count for what decides, where nothing brings that about.
func (hf HostFront) problems() []api.Problem {
	change := hf.files.Change()
	if !hf.files.Waits() {
		return nil
	}
	ro := hf.st.told.find(func(ro *api.Rollout) bool { return brings(ro, change) })
	why, fix := "no rollout brings it", "spillway reload --reason WHY"
	if ro != nil {
		if !ro.Over() {
			return nil
		}
		why = fmt.Sprintf("rollout %s is %s", ro.ID, ro.State)
		fix = fmt.Sprintf("spillway rollout status %s says why; take it back in the host file, or %s", ro.ID, fix)
	}
	return []api.Problem{{Code: "host_file_behind",
		Message: "what the host file newly lets be blocked does not count: " + why, Fix: fix}}
}
