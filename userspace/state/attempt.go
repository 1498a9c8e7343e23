// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Attempt is work that may have ended the process that did it: too much memory, most of all. It lies on disk while the
// work goes on, so that whoever comes next does not die of it again at once.
type Attempt struct {
	Schema  int       `json:"schema"`
	Since   time.Time `json:"since"`
	Crashes int       `json:"crashes"` // processes that died in it, one after the other
}

const maxAttemptBytes = 4 << 10

// attempts lie in a file each.
type attempts struct{ disk *disk }

func (a *attempts) attemptPath(what string) string {
	return filepath.Join(a.disk.dir, "attempt-"+what+".json")
}

// Crashed returns how often in a row processes died in the work, and when the last of them began it.
func (a *attempts) Crashed(what string) (times int, last time.Time) {
	data, err := a.disk.read(a.attemptPath(what), maxAttemptBytes)
	var known Attempt
	if err != nil || json.Unmarshal(data, &known) != nil {
		return 0, time.Time{}
	}
	return known.Crashes, known.Since
}

// Attempt notes that the work begins; end takes the note back, however the work ended. A disk that refuses is no reason
// to leave the work.
func (a *attempts) Attempt(what string) (end func()) {
	if a.disk.refusal() != nil {
		return func() {}
	}
	crashes, _ := a.Crashed(what)
	path := a.attemptPath(what)
	data, err := json.Marshal(Attempt{1, a.disk.now().UTC(), crashes + 1})
	if err == nil {
		err = a.disk.replace(path, data)
	}
	if err != nil {
		a.disk.log.Warn("work begins without a note: whoever dies in it dies again", "work", what, "error",
			fmt.Errorf("note an attempt: %w", err))
	}
	return func() { _ = a.disk.remove(path) }
}
