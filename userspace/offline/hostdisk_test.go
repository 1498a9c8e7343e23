// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/state"
)

// F6: without an agent, too, a host file that was edited since it was published shows; where no record says what was
// published, nobody claims to know.
func TestF6AFileThatIsNotInForceShowsWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "spillway.yaml")
	if err := os.WriteFile(path, []byte(sound), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Session{places: Locate(path)}
	s.places.State = filepath.Join(dir, "state")
	if p := s.hostOnDisk(); p != nil {
		t.Errorf("without a record: %+v", p)
	}
	store, err := state.Open(s.places.State, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // as an agent that hangs holds it
	if err := store.Save(&state.Record{HostDigest: hostfile.Digest([]byte(sound))}); err != nil {
		t.Fatal(err)
	}
	if p := s.hostOnDisk(); p != nil {
		t.Errorf("the same: %+v", p)
	}
	if err := os.WriteFile(path, []byte(sound+"max_mode: observe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := s.hostOnDisk(); p == nil || p.Code != hostfile.CodeNotInForce ||
		!strings.Contains(p.Message, "not reloaded") || strings.Contains(p.Fix, "spillway reload") {
		t.Errorf("edited: %+v", p)
	}
}
