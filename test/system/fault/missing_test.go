// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rights"
)

// lack is something that a host may not have.
type lack struct {
	name    string
	wrapper []string
	alone   bool     // the wrapper sees to the rights itself
	says    []string // what must be named
	fix     []string // what must be advised
	doctor  string   // what doctor must advise, when that is more
}

// privately runs a command in mounts of its own, changed by a script.
func privately(script string) []string {
	return []string{"unshare", "--mount", "sh", "-c", script + ` && exec "$@"`, "sh"}
}

// without runs a command as the agent's user with the unit's rights but one.
func without(capability string) []string {
	return rights.Setpriv(world.AgentID, world.AgentID, capability)
}

var lacks = []lack{
	{"bpffs is something else", privately("mount -t tmpfs none /sys/fs/bpf"), false,
		[]string{"/sys/fs/bpf", "BPF file system"}, []string{"mount -t bpf -o mode=0700 bpf /sys/fs/bpf"}, ""},
	{"bpffs is not mounted", privately("umount /sys/fs/bpf"), false, []string{"/sys/fs/bpf", "BPF file system"},
		[]string{"mount -t bpf -o mode=0700 bpf /sys/fs/bpf"}, ""},
	{"bpffs is read-only", privately("mount --bind /sys/fs/bpf /sys/fs/bpf && mount -o remount,bind,ro /sys/fs/bpf"),
		false,
		[]string{"/sys/fs/bpf", "read-only"}, []string{"spillway doctor"}, "mount -o remount,rw /sys/fs/bpf"},
	{"no type information", privately("mount -t tmpfs none /sys/kernel/btf"), false, []string{"/sys/kernel/btf/vmlinux"},
		[]string{"CONFIG_DEBUG_INFO_BTF"}, ""},
	{"no CAP_BPF", without("CAP_BPF"), true, []string{"missing CAP_BPF"}, []string{"CAP_BPF", "root"}, ""},
	{"no CAP_NET_ADMIN", without("CAP_NET_ADMIN"), true, []string{"missing CAP_NET_ADMIN"},
		[]string{"CAP_NET_ADMIN", "root"}, ""},
	{"no CAP_PERFMON", without("CAP_PERFMON"), true, []string{"missing CAP_PERFMON"}, []string{"CAP_PERFMON", "root"}, ""},
}

// leaveOut skips a test that cannot run here, and says why; it is a failure where all must run.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip("left out: " + why)
}

func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"unshare", "setpriv", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			leaveOut(t, fmt.Sprintf("%v: it is part of Debian's util-linux and mount", err))
		}
	}
}

// What is missing is named, with its fix; the agent stays and says that it protects nobody; the site is served.
func TestA44WhatIsMissingIsNamed(t *testing.T) {
	needTools(t)
	s := newSite(t)
	for _, l := range lacks {
		world.Must(t, loader.DetachPins(s.Pins))
		if l.alone {
			s.StartAs(l.wrapper...)
		} else {
			s.StartWith(l.wrapper...)
		}
		s.answers(t, "a start without what it needs: "+l.name, false)
		s.wrong(t, l.name, s.saysUnprotected(l)...)
		out, code := s.CLIWith(l.wrapper, "doctor")
		if code != 4 || !strings.Contains(out, cmp.Or(l.doctor, l.fix[0])) {
			s.wrong(t, l.name, fmt.Sprintf("doctor: exit %d:\n%s", code, out))
		}
		s.Kill()
	}
	s.tr.BotsAreServed(t)
	s.tr.VisitorsNeverNoticed(t)
}

func hasAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// saysUnprotected says what the agent does not tell of its lack, by status and in its log.
func (s *site) saysUnprotected(l lack) (wrong []string) {
	st, err := s.status()
	if err != nil {
		return []string{"status: " + err.Error()}
	}
	if st.Protected || st.Agent == nil || st.Agent.State != api.StateUnprotected || len(st.Problems) == 0 {
		return []string{fmt.Sprintf("it does not say unprotected: %+v %+v", st.Agent, st.Problems)}
	}
	var told string
	for _, p := range st.Problems {
		told += p.Message + "\n" + p.Fix + "\n"
	}
	if !hasAll(told, l.says) || !hasAll(told, l.fix) {
		wrong = append(wrong, fmt.Sprintf("want %q and %q named, status has:\n%s", l.says, l.fix, told))
	}
	if strings.Contains(told+s.Log(), "MEMLOCK") {
		wrong = append(wrong, "somebody is sent after MEMLOCK")
	}
	// Of what is attached and cannot be read, nobody knows whether it protects.
	if out, code := s.CLI("status"); code != 4 || !strings.HasPrefix(out, "NOT PROTECTED") &&
		!strings.HasPrefix(out, "UNKNOWN") {
		wrong = append(wrong, fmt.Sprintf("spillway status: exit %d: %s", code, out))
	}
	return wrong
}

// A kernel that refuses every bpf(2), as a lockdown or a seccomp profile does, before a first start and under one that
// enforces: the first is unprotected, in the second nothing changes.
func TestLockedDownKernel(t *testing.T) {
	s := newSite(t)
	in := listen(t, s, inject.BPF)
	l := lack{"every bpf() refused", nil, false, []string{"permission denied", "lockdown"},
		[]string{"root", "CAP_BPF"}, ""}
	for _, pinned := range []bool{false, true} {
		if pinned {
			s.protect(t, in)
			s.Kill()
		}
		before := s.look(t)
		in.Arm(1, inject.Fault{Errno: unix.EPERM, Last: true})
		s.StartWith(in.Wrapper()...)
		s.answers(t, "a start under a lock", false)
		s.wrong(t, fmt.Sprintf("%s, pinned %t", l.name, pinned), s.saysUnprotected(l)...)
		if after := s.look(t); after.String() != before.String() {
			t.Errorf("what is in force changed from %s to %s", before, after)
		}
		_, err := in.Disarm()
		world.Must(t, err)
		if pinned {
			if leak := s.tr.Leaked(); leak != "" {
				t.Error(leak)
			}
			if !within(patience, func() bool { return len(s.healthy()) == 0 }) {
				t.Errorf("it does not recover when the lock is gone: %v", s.healthy())
			}
		}
		s.Kill()
	}
	s.tr.VisitorsNeverNoticed(t)
}
