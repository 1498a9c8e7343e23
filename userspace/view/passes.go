// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"

	"github.com/spillway/spillway/loader/compile"
)

// Passes reports whether everything or a service passes by its bypass now.
func Passes(k Kernel) (bool, error) {
	h, err := k.Host()
	if err != nil {
		return false, err
	}
	if k.Bypass().Active() {
		return true, nil
	}
	return h != nil &&
		slices.ContainsFunc(h.Services, func(s compile.ServiceInfo) bool { return k.ServiceBypass(s.ID).Active() }), nil
}
