// SPDX-License-Identifier: Apache-2.0

package root

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// rootless is a dataplane with words of its own.
type rootless struct{ bypass, heartbeat uint64 }

func (r *rootless) Bypass() *uint64    { return &r.bypass }
func (r *rootless) Heartbeat() *uint64 { return &r.heartbeat }
func (r *rootless) Program() string    { return "" }
func (r *rootless) Close() error       { return nil }
func (r *rootless) Unmap() error       { return nil }

// While another dataplane is joined, what is said to the root is said to it, and a bypass is one only where both let
// everything pass.
func TestSwitchGetsWhatTheRootGets(t *testing.T) {
	r, beside := &Root{at: &bpf.RootWords{}}, &rootless{}
	hour := kernel.In(time.Hour)
	r.Join(beside)
	r.SetBypass(hour)
	r.Beat()
	if beside.bypass != uint64(hour) || r.at.BypassUntilNs != uint64(hour) || beside.heartbeat == 0 ||
		r.at.HeartbeatNs == 0 {
		t.Errorf("joined: %+v beside %+v", *beside, *r.at)
	}
	if beside.bypass = 0; r.Bypass() != 0 {
		t.Error("a bypass of one of two is taken for one of both")
	}
	if r.at.HeartbeatNs = 0; r.Heartbeat() < 0 {
		t.Error("the beat beside is not seen")
	}
	if r.Leave() != Switch(beside) || r.Leave() != nil {
		t.Error("who leaves is another")
	}
	beats := beside.heartbeat
	r.SetBypass(0)
	r.Beat()
	if beside.bypass != 0 || beside.heartbeat != beats || r.at.HeartbeatNs == 0 {
		t.Errorf("left: %+v beside %+v", *beside, *r.at)
	}
	if r.Join(nil); len(r.Switches()) != 1 {
		t.Errorf("%d switches with nobody beside", len(r.Switches()))
	}
}

// Layout 2 had no root: its words are all there is.
func TestSwitchWithoutARoot(t *testing.T) {
	r, beside := &Root{}, &rootless{}
	r.Join(beside)
	if r.SetBypass(kernel.DeadlineForever); r.Bypass() != kernel.DeadlineForever || len(r.Switches()) != 1 {
		t.Errorf("bypass %d of %d switches", r.Bypass(), len(r.Switches()))
	}
	if r.Heartbeat() >= 0 {
		t.Error("a beat that never was")
	}
}
