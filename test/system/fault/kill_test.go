// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// The agent is killed ten times a second, for six seconds or (SPILLWAY_FAULTS=all) a minute, under ten times the load:
// no visitor and no bot notices, what decides is one and the same word all the time, and nothing is left behind.
func TestA32KilledTenTimesASecond(t *testing.T) {
	s := newSite(t)
	s.protect(t, nil)
	s.Kill()
	flood, err := s.StartScanner(t.Context(), lab.ScannerOptions{Rate: 2000})
	world.Must(t, err)
	defer flood.Stop()
	before, left := s.look(t), s.leftovers(t)
	watch := s.Adopt()
	length := 6 * time.Second
	if everything {
		length = time.Minute
	}
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end); kills++ {
		s.StartWith()
		if kills%10 == 5 { // a start takes longer than that: one of ten is killed after it
			s.answers(t, "a start among kills", false)
		}
		time.Sleep(100 * time.Millisecond) // the interval of the test, not a wait for something
		s.Kill()
		if now := watch.Control(); now != before.Control {
			t.Fatalf("after %d kills the control word is %+v, was %+v", kills, now, before.Control)
		}
	}
	world.Must(t, watch.Close())
	if leak := s.tr.Leaked(); leak != "" {
		t.Error(leak)
	}
	if flood := flood.Stop(); flood.Answered > 0 || flood.Sent == 0 {
		t.Errorf("the flood was answered: %+v", flood)
	}
	if after := s.look(t); after.String() != before.String() || len(after.Wrong) > 0 {
		t.Errorf("what is in force is %s %v, was %s", after, after.Wrong, before)
	}
	var diff string
	// the kernel frees maps a little later
	if !within(patience, func() bool { diff = cmp.Diff(left, s.leftovers(t)); return diff == "" }) {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	s.start(t, nil)
	s.wrong(t, "the next start", s.healthy()...)
	var unfinished []string
	if !within(patience, func() bool {
		unfinished = slices.DeleteFunc(files(t, s.State()), isWhole)
		return len(unfinished) == 0
	}) {
		t.Errorf("the next start leaves %v", unfinished)
	}
	t.Logf("%d kills", kills)
	s.tr.VisitorsNeverNoticed(t)
}

// isWhole reports whether a file of the state folder has the name that it was written for.
func isWhole(path string) bool { return !strings.HasPrefix(filepath.Base(path), ".new-") }

// leftovers is what an agent that was killed could leave behind, while none runs.
type leftovers struct {
	Words    ebpf.MapID // the one map that holds the control word
	Maps     int        // with a capacity of this site
	Programs int        // that read the words
	Pins     []string
	State    []string
}

func (s *site) leftovers(t *testing.T) leftovers {
	t.Helper()
	words, err := plane.OpenMap(s.Pins, bpf.DataplaneMapWords)
	world.Must(t, err)
	defer words.Close()
	info, err := words.Info()
	world.Must(t, err)
	// What was being written stays until the next start.
	state := slices.DeleteFunc(files(t, s.State()), func(path string) bool { return !isWhole(path) })
	l := leftovers{Pins: files(t, s.Pins), State: state}
	for i, path := range l.Pins { // each start has programs of its own, in a folder of their number
		l.Pins[i] = regexp.MustCompile(`/programs/[0-9]+`).ReplaceAllString(path, "/programs/N")
	}
	l.Words, _ = info.ID()
	for id := ebpf.MapID(0); ; {
		if id, err = ebpf.MapGetNextID(id); err != nil {
			break
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue // it went meanwhile
		}
		if slices.Contains(s.sizes, m.MaxEntries()) {
			l.Maps++
		}
		_ = m.Close()
	}
	for id := ebpf.ProgramID(0); ; {
		if id, err = ebpf.ProgramGetNextID(id); err != nil {
			break
		}
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue
		}
		if info, err := p.Info(); err == nil {
			if used, ok := info.MapIDs(); ok && slices.Contains(used, l.Words) {
				l.Programs++
			}
		}
		_ = p.Close()
	}
	return l
}

func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	world.Must(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		names = append(names, path)
		return err
	}))
	return names
}
