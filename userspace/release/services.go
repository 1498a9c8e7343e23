// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"

	"github.com/spillway/spillway/config"
)

// addsService reports whether a host file has a service that the old one has not: no bundle in the kernel has a policy
// for it.
func addsService(old, next *config.Host) bool {
	return slices.ContainsFunc(next.Services, func(s config.Service) bool {
		return !slices.ContainsFunc(old.Services, func(o config.Service) bool { return o.Name == s.Name })
	})
}
