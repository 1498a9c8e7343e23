// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
)

// folder is the content of a state folder, by path.
type folder map[string][]byte

func (s *site) save(t *testing.T) folder {
	t.Helper()
	f := folder{}
	world.Must(t, filepath.WalkDir(s.State(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		f[path] = data
		return err
	}))
	return f
}

func (s *site) restore(t *testing.T, f folder) {
	t.Helper()
	world.Must(t, os.RemoveAll(s.State()))
	for path, data := range f {
		world.Must(t, os.MkdirAll(filepath.Dir(path), 0o750))
		world.Must(t, os.WriteFile(path, data, 0o600))
	}
	world.Give(t, s.State())
}

// damage is a file that does not hold what was written to it.
type damage struct {
	name, path string
	data       []byte
}

// mostPlaces of one file meet an agent. That damage of every byte is found, userspace/state shows without one.
const mostPlaces = 100

// damages of one file: cut off at some lengths, and a byte flipped in some places; in make test, by the seed, one of
// the two.
func damages(r *rand.Rand, path string, data []byte) (all []damage) {
	for _, n := range places(r, len(data)) {
		all = append(all,
			damage{fmt.Sprintf("%s cut off after %d of %d bytes", filepath.Base(path), n-1, len(data)), path,
				bytes.Clone(data[:n-1])})
	}
	for _, n := range places(r, len(data)) {
		flipped := bytes.Clone(data)
		flipped[n-1] ^= 1 << r.IntN(8)
		all = append(all,
			damage{fmt.Sprintf("%s with byte %d of %d flipped", filepath.Base(path), n-1, len(data)), path, flipped})
	}
	if !everything && atLeast == 0 && len(all) > 0 {
		return []damage{all[r.IntN(len(all))]}
	}
	return all
}

// places are one of n, or with SPILLWAY_FAULTS=all many, a stride apart.
func places(r *rand.Rand, n int) []int {
	all := some(r, n, 1)
	stride := (len(all) + mostPlaces - 1) / mostPlaces
	var out []int
	for i := 0; i < len(all); i += stride {
		out = append(out, all[i])
	}
	return out
}

// Whatever the disk made of the agent's files, the agent starts and says what it found, and what the kernel enforces
// goes on, untouched.
func TestDamagedState(t *testing.T) {
	r := dice(t)
	s := newSite(t)
	s.protect(t, nil)
	needPrevious(t, s, nil)
	s.Kill()
	sound := s.save(t)
	before, hit := s.look(t), 0
	resident := []string{hex.EncodeToString(before.Stable.Digest[:]), hex.EncodeToString(before.Previous.Digest[:])}
	for _, path := range sortedKeys(sound) {
		for _, d := range damages(r, path, sound[path]) {
			hit++
			s.restore(t, sound)
			world.Must(t, os.WriteFile(d.path, d.data, 0o600))
			s.start(t, nil)
			s.wrong(t, d.name, s.tells(t, d, resident, sound[path])...)
			if after := s.look(t); after.String() != before.String() || len(after.Wrong) > 0 {
				s.wrong(t, d.name, fmt.Sprintf("what is in force is %s %v, was %s", after, after.Wrong, before))
			}
			s.Kill()
			if leak := s.tr.Leaked(); leak != "" {
				s.wrong(t, d.name, leak)
			}
		}
	}
	s.restore(t, sound)
	s.start(t, nil)
	s.wrong(t, "after all damage", s.healthy()...)
	t.Logf("%d damages of %d files", hit, len(sound))
	s.tr.VisitorsNeverNoticed(t)
}

func sortedKeys(f folder) []string {
	var keys []string
	for path := range f {
		keys = append(keys, path)
	}
	slices.Sort(keys)
	return keys
}

// tells says what is wrong with what the agent says about a damage: nothing may be hidden.
func (s *site) tells(t *testing.T, d damage, resident []string, sound []byte) (wrong []string) {
	t.Helper()
	v, err := s.verify() // it reads the bundles
	if err != nil {
		return []string{"verify: " + err.Error()}
	}
	if len(v.Entries) > 0 {
		wrong = append(wrong, fmt.Sprintf("verify finds drift that is none: %+v", v.Entries))
	}
	st, err := s.status()
	if err != nil {
		return append(wrong, "status: "+err.Error())
	}
	if !st.Protected {
		wrong = append(wrong, fmt.Sprintf("not protected: %+v", st.Problems))
	}
	switch name := filepath.Base(d.path); {
	case name == "history.jsonl":
		c := api.NewClient(s.Socket())
		defer c.Close()
		h, err := c.History(context.Background(), 0)
		if err != nil {
			return append(wrong, "history: "+err.Error())
		}
		// A cut between two lines, or of the last line's end alone, leaves whole lines.
		whole := bytes.HasPrefix(sound, d.data) &&
			(len(d.data) == 0 || d.data[len(d.data)-1] == '\n' || sound[len(d.data)] == '\n')
		if !whole && h.Skipped == 0 {
			wrong = append(wrong, "the history does not say that a line is damaged")
		}
	case name == "record.json" || name == "quarantine.json" || slices.Contains(resident, name):
		if !slices.ContainsFunc(st.Problems, func(p api.Problem) bool {
			return p.Code == "damaged_state" && strings.Contains(p.Message, name)
		}) {
			wrong = append(wrong, fmt.Sprintf("status does not say that %s is damaged: %+v", name, st.Problems))
		}
	}
	return wrong
}

// A reboot onto damaged files: what is lost is said, everything passes, and nobody notices but the bots.
func TestDamagedStateAfterReboot(t *testing.T) {
	r := dice(t)
	s := newSite(t)
	s.protect(t, nil)
	known := s.look(t).Stable.Digest
	s.Kill()
	sound := s.save(t)
	for _, lost := range []struct{ file, problem string }{
		{"record.json", "damaged_state"}, {"bundles/" + hex.EncodeToString(known[:]), "no_last_known_good"},
	} {
		path := filepath.Join(s.State(), lost.file)
		for _, d := range damages(r, path, sound[path]) {
			world.Must(t, loader.DetachPins(s.Pins))
			s.restore(t, sound)
			world.Must(t, os.WriteFile(d.path, d.data, 0o600))
			s.start(t, nil)
			st, err := s.status()
			world.Must(t, err)
			if st.Protected || !slices.ContainsFunc(st.Problems, func(p api.Problem) bool { return p.Code == lost.problem }) {
				s.wrong(t, d.name, fmt.Sprintf("protected %t, problems %+v", st.Protected, st.Problems))
			}
			if out, code := s.CLI("apply", s.other(known), "--yes", "--accept", "a new beginning"); code != 0 {
				s.wrong(t, d.name, "apply: "+out)
			}
			s.wrong(t, d.name+", after an apply", s.healthy()...)
			s.Kill()
		}
	}
	s.tr.VisitorsNeverNoticed(t)
}

// A reboot onto a disk that went read-only: last-known-good is read from it and protects, and the agent says that it
// cannot remember anything.
func TestReadOnlyStateAfterReboot(t *testing.T) {
	needTools(t)
	s := newSite(t)
	s.protect(t, nil)
	known := s.look(t).Stable.Digest
	s.Kill()
	world.Must(t, loader.DetachPins(s.Pins))
	s.StartWith(privately(fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[1]s", s.State()))...)
	s.answers(t, "a start on a disk that cannot be written", false)
	st, err := s.status()
	world.Must(t, err)
	if !st.Protected || !slices.ContainsFunc(st.Problems, func(p api.Problem) bool {
		return strings.Contains(p.Message, "read-only file system")
	}) {
		t.Errorf("protected %t, problems %+v", st.Protected, st.Problems)
	}
	if at := s.look(t); at.Stable.Digest != known || len(at.Wrong) > 0 {
		t.Errorf("in force is %s %v", at, at.Wrong)
	}
	s.tr.BotsAreStopped(t)
	s.start(t, nil)
	// The number that could not be written down is found, and its rows are not compared: nobody knows their moment.
	s.forgot[s.glance(t).Stable.Number] = true
	s.wrong(t, "the next start, on a disk that can be written", s.healthy()...)
	s.tr.VisitorsNeverNoticed(t)
}
