// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// A group that does not exist leaves the socket to root, and a problem says so; the usual ones nobody needs to have.
func TestSocketGroups(t *testing.T) {
	dir := t.TempDir()
	store, err := state.Open(filepath.Join(dir, "state"), state.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	book := ledger.New(store, ledger.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now, Folder: dir})
	server := New(Options{Log: slog.New(slog.DiscardHandler), Ledger: book}, api.Backend{})
	for group, told := range map[string]bool{"spillway-read": false, "no-such-group": true} {
		at := socket{role: api.RoleRead, path: filepath.Join(dir, group), group: group, problem: ledger.ProblemRead,
			usual: "spillway-read"}
		l, err := api.Listen(at.path, at.group)
		if err != nil {
			t.Fatal(err)
		}
		server.tellGroup(at, l.Note)
		_ = l.Close()
		if p, is := book.Problem(ledger.ProblemRead); is != told {
			t.Errorf("%s: problem %+v", group, p)
		}
	}
}
