// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"errors"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// InProcess builds in this process, and tries nothing.
type InProcess struct{ Hand *release.Stagehand }

// Taste implements Taster.
func (p InProcess) Taste(o *release.Order, _ int) (t rollout.Taste, busy bool) {
	b, err := p.Hand.Build(o)
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Code == api.CodeBusy:
		return t, true
	case err != nil:
		return rollout.Taste{Outcome: rollout.TasteFailed, Detail: err.Error()}, false
	}
	return rollout.Taste{Outcome: rollout.TastePassed, Number: b.Number, Base: b.On, Way: &b.Way}, false
}
