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

func (s *Store) attemptPath(what string) string { return filepath.Join(s.dir, "attempt-"+what+".json") }

// Crashed returns how often in a row processes died in the work, and when the last of them began it.
func (s *Store) Crashed(what string) (times int, last time.Time) {
	data, err := s.read(s.attemptPath(what), maxAttemptBytes)
	var a Attempt
	if err != nil || json.Unmarshal(data, &a) != nil {
		return 0, time.Time{}
	}
	return a.Crashes, a.Since
}

// Attempt notes that the work begins; end takes the note back, however the work ended. A disk that refuses is no reason to
// leave the work.
func (s *Store) Attempt(what string) (end func()) {
	if s.refusal() != nil {
		return func() {}
	}
	crashes, _ := s.Crashed(what)
	path := s.attemptPath(what)
	data, err := json.Marshal(Attempt{1, s.now().UTC(), crashes + 1})
	if err == nil {
		err = s.replace(path, data)
	}
	if err != nil {
		s.log.Warn("work begins without a note: whoever dies in it dies again", "work", what, "error", fmt.Errorf("note an attempt: %w", err))
	}
	return func() { _ = s.remove(path) }
}
