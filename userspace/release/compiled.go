// SPDX-License-Identifier: Apache-2.0

package release

import (
	"net/netip"
	"slices"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/state"
)

// compiled is what must be kept to compile the same image again: expiries became kernel time at that moment. The sums
// tell whether the kernel still holds it.
func compiled(img *compile.Image, at compile.Clock, host compile.Context, rows int,
	because []netip.Prefix) state.Compiled {
	return state.Compiled{Number: img.Number(), Digest: img.Compiled(), LeftOutRows: rows, LeftOut: because,
		Wall: at.Wall.Round(0).UTC(), MonotonicNS: at.MonotonicNS,
		Services: host.Services, Terms: state.TermsOf(host.Terms), Allowlist: host.Allowlist, Host: host.Host,
		Sums: img.Sums()}
}

// isResident says whether a number is that of a generation in the kernel. However many candidates came and went, the
// stable one must still be verifiable after a restart.
func isResident(all []loader.GenerationInfo, number uint32) bool {
	return slices.ContainsFunc(all, func(g loader.GenerationInfo) bool { return g.Number == number })
}
