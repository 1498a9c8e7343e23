// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/rights"
)

// deeds are what a process tries that has given up its rights, each with whether a child needs it.
var deeds = []struct {
	name    string
	allowed bool
	do      func(*tools) error
}{
	{"make a map", true, func(w *tools) (err error) {
		w.made, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 2})
		return err
	}},
	{"make a trie", true, func(*tools) error {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 2,
			Flags: unix.BPF_F_NO_PREALLOC})
		return errors.Join(err, m.Close())
	}},
	{"fill a map", true, func(w *tools) error {
		_, err := w.made.BatchUpdate([]uint32{1, 2}, []uint32{3, 4}, nil)
		return err
	}},
	{"read a map", true, func(w *tools) error {
		var cursor ebpf.MapBatchCursor
		_, err := w.made.BatchLookup(&cursor, make([]uint32, 8), make([]uint32, 8), nil)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
		return err
	}},
	{"freeze a map", true, func(w *tools) error { return w.made.Freeze() }},
	{"pin a map", true, func(w *tools) error { return w.made.Pin(filepath.Join(w.folder, "pin")) }},
	{"run a program that it has", true, func(w *tools) error {
		_, err := w.program.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		return err
	}},
	{"load a program", false, func(*tools) error { _, err := xdp(); return err }},
	{"attach a program that it has", false, func(w *tools) error { return attach(w.program) }},
	{"open a pin", false, func(w *tools) error { _, err := ebpf.LoadPinnedMap(w.folder+"/theirs", nil); return err }},
	{"remove a pin", false, func(w *tools) error { return os.Remove(w.folder + "/theirs") }},
	{"speak netlink", false, func(*tools) error {
		_, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		return err
	}},
	{"start a program", false, func(*tools) error { return exec.Command("/bin/true").Run() }},
	{"write a file", false, func(w *tools) error { return os.WriteFile(w.file, nil, 0o600) }},
	{"make a file", false, func(w *tools) error { return os.WriteFile(w.file+"2", nil, 0o600) }},
	{"read a file", true, func(w *tools) error { _, err := os.ReadFile(w.file); return err }},
}

// tools are what these need.
type tools struct {
	folder, file string
	program      *ebpf.Program
	made         *ebpf.Map
	agent        int // a process of the same user
}

func xdp() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}}) // XDP_PASS
}

// attach attaches a program that passes everything to the loopback device, for a moment.
func attach(p *ebpf.Program) error {
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: 1, Flags: link.XDPGenericMode})
	if err == nil {
		err = l.Close()
	}
	return err
}

// tryDeeds is a process that gives up its rights, and says what it then can.
func tryDeeds(folder, file string, filtered bool) {
	w := &tools{folder: folder, file: file}
	var err error
	if w.program, err = xdp(); err != nil {
		panic(err)
	}
	runtime.LockOSThread() // whose end would be that of the stand-in
	if w.agent, err = standIn(); err != nil {
		panic(err)
	}
	// The library asks once whether programs can be run, by loading one: openSecond does it as early.
	if _, err := w.program.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		panic(err)
	}
	if err := drop(); err != nil {
		panic(err)
	}
	can := map[string]string{}
	if !filtered {
		can["attach a program that it has"] = fmt.Sprint(attach(w.program))
	} else {
		if err := filter(); err != nil {
			panic(err)
		}
		for _, d := range deeds {
			can[d.name] = fmt.Sprint(d.do(w))
		}
		for _, a := range attacks {
			can[a.name] = fmt.Sprint(a.do(w))
		}
		can["agent"] = letter(w.agent)
		can["rights"] = strings.Join(threadsBeyond(), "; ")
	}
	_ = json.NewEncoder(os.Stdout).Encode(can)
}

// threadsBeyond names threads of this process that may more than CAP_BPF.
func threadsBeyond() (beyond []string) {
	const want = "0000008000000000"
	all, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range all {
		has, err := rights.Read(path)
		if err != nil {
			continue // it ended
		}
		for name, value := range map[string]string{"CapPrm": want, "CapEff": want, "CapInh": strings.Repeat("0", 16),
			"CapAmb": strings.Repeat("0", 16), "NoNewPrivs": "1", "Seccomp": "2"} {
			if got := strings.Join(has[name], " "); got != value {
				beyond = append(beyond, fmt.Sprintf("%s: %s is %s, want %s", path, name, got, value))
			}
		}
	}
	return beyond
}

// asked runs this program as the unit's user with its rights, as the agent that starts a child.
func asked(t *testing.T, args ...string) []byte {
	t.Helper()
	if !Possible() {
		t.Skip("left out: all threads give up their rights only without cgo; make test has none")
	}
	self, err := os.Open("/proc/self/exe") // go test keeps it in a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", args...)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{self}
	rights.Take(cmd, unitID, unitID)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return out
}

func TestChildHasNoRightsButToMakeMaps(t *testing.T) {
	pins, files := unitFolders(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file := filepath.Join(files, "record.json")
	if err := errors.Join(m.Pin(pins+"/theirs"), os.Chown(pins+"/theirs", unitID, unitID),
		os.WriteFile(file, []byte("{}"), 0o600), os.Chown(file, unitID, unitID)); err != nil {
		t.Fatal(err)
	}
	var can map[string]string
	if err := json.Unmarshal(asked(t, deedsChild, pins, file, "filtered"), &can); err != nil {
		t.Fatal(err)
	}
	for _, d := range deeds {
		switch said := can[d.name]; {
		case d.allowed && said != "<nil>":
			t.Errorf("it cannot %s: %s", d.name, said)
		case !d.allowed && !strings.Contains(said, "operation not permitted"):
			t.Errorf("it can %s: %s", d.name, said)
		}
	}
	for _, a := range attacks {
		if said := can[a.name]; !strings.Contains(said, "operation not permitted") {
			t.Errorf("it can %s: %s", a.name, said)
		}
	}
	if !slices.Contains([]string{"S", "R", "D"}, can["agent"]) { // "T" is one that was stopped
		t.Errorf("the agent is in state %q, want one that goes on", can["agent"])
	}
	if can["rights"] != "" {
		t.Error(can["rights"])
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "{}" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// Why there is a filter: the kernel asks for no more than CAP_BPF of whoever links a program that is loaded.
func TestCapabilitiesAloneLetAChildAttach(t *testing.T) {
	pins, files := unitFolders(t)
	var can map[string]string
	if err := json.Unmarshal(asked(t, deedsChild, pins, files, "bare"), &can); err != nil {
		t.Fatal(err)
	}
	if said := can["attach a program that it has"]; said != "<nil>" {
		t.Errorf("this kernel asks for more: %s; ARCHITECTURE says that it does not", said)
	}
}
