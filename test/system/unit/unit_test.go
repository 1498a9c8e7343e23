// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/rights"
)

func TestMain(m *testing.M) {
	code := m.Run()
	world.RemoveBinary()
	os.Exit(code)
}

const hostFile = `version: 1
max_mode: enforce
interfaces: [{name: veth0}]
services: [{name: plain, port: 80, kind: http}]
listen: {metrics: ""}
capacity: {prefixes_v4: 1000, prefixes_v6: 1000, flows: 1024, syns: 4096}
`

const bundle = `version: 1
name: deny
rules: [{id: net, label: denied-network, score: 100}]
features:
  prefixes: [{list: own, rule: net, entries: [198.18.66.0/24]}]
policy: {default: {drop: 80}}
`

// machine is a small host with a systemd of its own.
type machine struct {
	t      *testing.T
	folder string
	first  int // the process that is its systemd
}

// boot starts it. Its processes die with this one.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: a systemd of one's own needs root")
	}
	for _, file := range []string{"/lib/systemd/systemd", "/usr/bin/systemctl", "/usr/bin/nsenter", "/usr/bin/unshare"} {
		if _, err := os.Stat(file); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("make deps installs it: %v", err)
			}
			t.Skip("left out: ", err)
		}
	}
	m := &machine{t: t, folder: t.TempDir()}
	m.write()
	cmd := exec.Command("unshare", "--cgroup", "--pid", "--mount", "--net", "--uts", "--ipc", "--fork", "--kill-child",
		"--propagation", "private",
		"sh", filepath.Join(m.folder, "inside.sh"), m.folder)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: m.cgroup()}
	world.Must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	world.Eventually(t, "a systemd answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("it ended: %s", said.String())
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		m.first, _ = strconv.Atoi(strings.TrimSpace(string(children)))
		if m.first == 0 {
			return false
		}
		_, err := m.run("systemctl", "show", "-p", "Version")
		return err == nil
	})
	return m
}

// write makes the folder from which the machine takes its files: stubs of what the unit depends on by default, and the
// shipped unit as it is.
func (m *machine) write() {
	m.t.Helper()
	units := filepath.Join(m.folder, "units")
	for _, folder := range []string{units, filepath.Join(m.folder, "etc")} {
		world.Must(m.t, os.Mkdir(folder, 0o755))
	}
	for _, name := range []string{"sysinit", "basic", "shutdown", "network-pre", "multi-user"} {
		world.Must(m.t, os.WriteFile(filepath.Join(units, name+".target"), []byte("[Unit]\nDefaultDependencies=no\n"), 0o644))
	}
	world.Must(m.t,
		os.WriteFile(filepath.Join(units, "default.target"),
			[]byte("[Unit]\nDefaultDependencies=no\nWants=spillway.service\n"), 0o644))
	for to, from := range map[string]string{
		"units/spillway.service": "../../../config/systemd/spillway.service", "inside.sh": "testdata/inside.sh",
		"program": world.Binary(m.t),
	} {
		data, err := os.ReadFile(from)
		world.Must(m.t, err)
		world.Must(m.t, os.WriteFile(filepath.Join(m.folder, to), data, 0o755))
	}
	world.Must(m.t, os.WriteFile(filepath.Join(m.folder, "spillway.yaml"), []byte(hostFile), 0o644))
	world.Must(m.t, os.WriteFile(filepath.Join(m.folder, "bundle.yaml"), []byte(bundle), 0o644))
}

// cgroup makes a control group for the machine, which takes it for the root of all, and returns it open.
func (m *machine) cgroup() int {
	m.t.Helper()
	mount := filepath.Join(m.t.TempDir(), "cgroup")
	world.Must(m.t, os.Mkdir(mount, 0o755))
	if err := unix.Mount("cgroup2", mount, "cgroup2", 0, ""); err != nil {
		m.t.Skip("left out: no control groups of version 2: ", err)
	}
	own := filepath.Join(mount, fmt.Sprintf("spillway-test-%d", os.Getpid()))
	m.t.Cleanup(func() {
		world.Eventually(m.t, "the control groups are empty", func() bool { return removeTree(own) == nil })
		world.Must(m.t, unix.Unmount(mount, unix.MNT_DETACH))
	})
	world.Must(m.t, os.Mkdir(own, 0o755))
	fd, err := unix.Open(own, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	world.Must(m.t, err)
	m.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// removeTree removes control groups from below.
func removeTree(folder string) error {
	entries, err := os.ReadDir(folder)
	if os.IsNotExist(err) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(folder)
}

// run runs a command on the machine, as root.
func (m *machine) run(args ...string) (string, error) {
	enter := []string{"--target", strconv.Itoa(m.first), "--mount", "--pid", "--net", "--cgroup", "--ipc"}
	out, err := exec.Command("nsenter", append(enter, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("%v: %v\n%s\n%s", args, err, out, m.about())
	}
	return out
}

// about says what systemd knows of the unit.
func (m *machine) about() string {
	out, _ := m.run("systemctl", "--no-pager", "status", "spillway")
	return out
}

// active waits until the unit runs, as another process than before, and says what runs.
func (m *machine) active(before string) (pid string) {
	m.t.Helper()
	world.Eventually(m.t, "the unit is active", func() bool {
		pid, _ = m.run("systemctl", "show", "-p", "MainPID", "--value", "spillway")
		state, _ := m.run("systemctl", "is-active", "spillway")
		return state == "active" && pid != before
	})
	return pid
}

// hasRights compares the agent with the list of rights: user and sets as the unit gives them, and a filter of system
// calls.
func (m *machine) hasRights(pid string) {
	m.t.Helper()
	status := m.must("cat", "/proc/"+pid+"/status")
	file := filepath.Join(m.t.TempDir(), "status")
	world.Must(m.t, os.WriteFile(file, []byte(status), 0o600))
	has, err := rights.Read(file)
	world.Must(m.t, err)
	for _, wrong := range rights.Differ(has, 990, 990) {
		m.t.Error(wrong)
	}
	mask := fmt.Sprintf("%016x", rights.Mask())
	for name, want := range map[string]string{"CapBnd": mask, "NoNewPrivs": "1", "Seccomp": "2"} {
		if got := strings.Join(has[name], " "); got != want {
			m.t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// The shipped unit starts, has exactly its rights, protects, and goes on over restarts of every kind.
func TestF1TheUnitUnderSystemd(t *testing.T) {
	m := boot(t)
	pid := m.active("0")
	m.hasRights(pid)
	m.must("spillway", "apply", filepath.Join(m.folder, "bundle.yaml"), "--yes")
	world.Eventually(t, "a child of the unit has tried the bundle", func() bool {
		return strings.Contains(m.must("spillway", "rollout"), "shadow")
	})
	m.must("sh", "-c", "echo 'guards: {rollout: direct}' >>/etc/spillway/spillway.yaml") // in seconds, for what follows
	m.must("spillway", "reload")
	m.must("spillway", "apply", filepath.Join(m.folder, "bundle.yaml"), "--yes")
	protected := func() string {
		t.Helper()
		out := m.must("spillway", "status") // 0: protected
		m.must("spillway", "verify")
		_, rest, _ := strings.Cut(out, "veth0")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.Join(strings.Fields(line), " ")
	}
	link := protected()
	m.must("spillway", "doctor", "veth0")
	m.must("systemctl", "reload", "spillway")
	m.must("spillway", "bypass", "on")
	m.must("spillway", "bypass", "off")
	for _, restart := range [][]string{
		{"systemctl", "restart", "spillway"}, {"systemctl", "kill", "--signal=KILL", "spillway"},
		// as after an agent of root's
		{"sh", "-c", "systemctl stop spillway && chown -R root:root /sys/fs/bpf/spillway && systemctl start spillway"},
	} {
		m.must(restart...)
		pid = m.active(pid)
		m.hasRights(pid)
		if now := protected(); now != link {
			t.Errorf("after %v the interface is %q, was %q", restart, now, link)
		}
	}
	// Somebody removes the folder: the agent sees the old one only, and says so.
	// it pins again what is missing, meanwhile
	m.must("timeout", "60", "sh", "-c", "until rm -r /sys/fs/bpf/spillway; do :; done")
	world.Eventually(t, "the agent says that its folder is gone", func() bool {
		out, _ := m.run("spillway", "status")
		return strings.Contains(out, "systemctl restart spillway")
	})
	m.must("systemctl", "restart", "spillway")
	pid = m.active(pid)
	m.must("spillway", "reload", "--yes") // an empty kernel got a bundle that had not baked, and only observes
	protected()
	m.must("systemctl", "stop", "spillway")
	m.must("spillway", "rollback", "--to", "observe")
	m.must("spillway", "detach", "--yes")
	m.must("systemctl", "start", "spillway")
	m.hasRights(m.active(pid))
	if t.Failed() {
		t.Log(m.about())
	}
}
