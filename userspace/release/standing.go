// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// standing is what a change meets: the set that decides now, and what becomes of it.
type standing struct {
	stable  loader.GenerationInfo
	base    *config.Set
	next    *config.Set
	there   bool // there is a stable generation
	waiting bool // a candidate waits for its confirmation
}

// unchanged says that there is nothing to do.
func (s *standing) unchanged(change *api.Change) bool {
	if !s.there || s.stable.Digest != s.next.Digest {
		return false
	}
	change.Outcome, change.Number = api.OutcomeUnchanged, s.stable.Number
	change.Message = fmt.Sprintf("this bundle is in force already, as generation %d", s.stable.Number)
	return true
}
