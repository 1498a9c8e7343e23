// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// cannotRead lets an errno meet every read of the files whose name begins so.
func (r *rig) cannotRead(errno unix.Errno, names ...string) {
	r.unread = func(path string) error {
		for _, name := range names {
			if strings.HasPrefix(filepath.Base(path), name) {
				return &os.PathError{Op: "open", Path: path, Err: errno}
			}
		}
		return nil
	}
}

// F10: an agent that starts with a record which it cannot read adopts the kernel, says so, writes nothing over the
// record, and knows everything again once it can be read.
func TestF10StartWithARecordThatCannotBeRead(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EACCES, unix.EIO, unix.EMFILE, unix.ENOMEM, unix.EINTR} {
		for _, reboot := range []bool{false, true} {
			what := errno.Error()
			if reboot {
				what += " after a reboot"
			}
			r := newRig(t)
			r.mustApply("zero", api.ApplyOptions{})
			r.mustApply("one", api.ApplyOptions{})
			r.pass(10 * time.Minute)
			r.ban(scraper, time.Hour)
			if _, err := r.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "dns", Reason: "drill"}); err != nil {
				t.Fatal(err)
			}
			r.stop()
			if reboot {
				r.machine = newMachine(func() time.Time { return r.clock })
			}
			files := map[string]string{}
			for _, name := range []string{"record.json", "quarantine.json", "bans.log"} {
				data, err := os.ReadFile(filepath.Join(r.dir, "state", name))
				if err != nil {
					t.Fatal(err)
				}
				files[name] = string(data)
			}
			before := r.machine.control
			r.cannotRead(errno, "record.json", "quarantine.json", "bans.log")
			r.start()
			r.pass(time.Minute)
			r.pass(time.Minute)
			if !reboot {
				r.wantRoles("one", "", "zero")
				if r.machine.control != before || len(r.machine.bans) != 1 {
					t.Errorf("%s: the kernel was touched: %+v, bans %v", what, r.machine.control, r.machine.bans)
				}
			}
			s, err := r.Status(ctx)
			if err != nil || !hasProblem(s, ledger.ProblemUnread) || hasProblem(s, "damaged_state") {
				t.Errorf("%s: problems %v, %v", what, s.Problems, err)
			}
			// What a person does goes through, and is in the kernel; the disk has it later.
			r.ban(scanner, time.Hour)
			if _, err := r.bypass.Set(ctx, root, api.BypassRequest{On: true, ForSeconds: 600, Reason: "panic"}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			for name, data := range files {
				if now, err := os.ReadFile(filepath.Join(r.dir, "state", name)); err != nil || string(now) != data {
					t.Errorf("%s: %s was written over: %v", what, name, err)
				}
			}
			r.unread = nil
			for range 3 {
				r.pass(time.Minute)
			}
			if s, _ = r.Status(ctx); hasProblem(s, ledger.ProblemUnread) || hasProblem(s, ledger.ProblemState) ||
				hasProblem(s, ledger.ProblemBanDisk) {
				t.Errorf("%s: problems %v", what, s.Problems)
			}
			check := func(when string) {
				t.Helper()
				if r.role("stable") != "one" || r.knownGood() != "one" {
					t.Errorf("%s, %s: stable %q, last-known-good %q", what, when, r.role("stable"), r.knownGood())
				}
				bans, err := r.agent.bans.List(ctx)
				if err != nil || len(bans.Bans) != 2 || bans.Bans[0].Reason != "test" || bans.Bans[1].Reason != "test" {
					t.Errorf("%s, %s: bans %+v, %v", what, when, bans, err)
				}
				if s, _ := r.Status(ctx); !s.Services[1].Bypass.Active || s.Services[1].Bypass.Reason != "drill" ||
					s.Bypass.Reason != "panic" {
					t.Errorf("%s, %s: bypasses %+v, %+v", what, when, s.Bypass, s.Services)
				}
			}
			check("once it can be read")
			r.restart()
			check("after the next start")
			r.stop()
		}
	}
}

// F10: a bundle that cannot be read for a moment is not lost: after a reboot it comes back as soon as it can be read,
// and no growth passes unjudged meanwhile.
func TestF10BundleThatCannotBeRead(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EACCES, unix.EIO, unix.EMFILE, unix.ENOMEM, unix.EINTR} {
		r := newRig(t)
		c := r.mustApply("one", api.ApplyOptions{})
		r.pass(10 * time.Minute)
		name := strings.TrimPrefix(c.Digest.String(), "sha256:")
		r.restart()
		r.cannotRead(errno, name)
		r.plane.Rows.Learn()
		if s, _ := r.Status(ctx); !hasProblem(s, ledger.ProblemBundle) {
			t.Errorf("%v: problems %v", errno, s.Problems)
		}
		_, err := r.apply("two", api.ApplyOptions{})
		wantCode(t, err, api.CodeUnavailable)
		r.reboot()
		r.pass(time.Minute)
		r.wantRoles("", "", "")
		if s, _ := r.Status(ctx); !hasProblem(s, ledger.ProblemLKG) || hasProblem(s, "damaged_state") {
			t.Errorf("%v: problems %v", errno, s.Problems)
		}
		r.unread = nil
		r.pass(2 * time.Minute)
		r.pass(2 * time.Minute)
		r.wantRoles("one", "", "")
		if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemLKG) || hasProblem(s, ledger.ProblemBundle) || !s.Protected {
			t.Errorf("%v: problems %v", errno, s.Problems)
		}
		r.stop()
	}
}
