// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/config"
)

// The strongest verdict of a service counts at once where it is lowered. Where it is raised, what is behind goes on
// with the weaker one until the bundle is compiled for it.
func TestCapsOfWhatIsBehind(t *testing.T) {
	for _, c := range []struct {
		before, next    config.MaxVerdict
		behind, current result // of a bot's SYN
	}{
		{config.MaxPass, config.MaxReset, passes("below_threshold"), drops("prefix")},
		{config.MaxTag, config.MaxDrop, passes("prefix"), drops("prefix")},
		{config.MaxLimit, config.MaxDrop, passes("prefix"), drops("prefix")}, // no rate: what would be limited is tagged
		{config.MaxPass, config.MaxTag, passes("below_threshold"), passes("prefix")},
		{config.MaxDrop, config.MaxReset, drops("prefix"), drops("prefix")},
		{config.MaxReset, config.MaxTag, passes("prefix"), passes("prefix")},
		{config.MaxDrop, config.MaxPass, passes("below_threshold"), passes("below_threshold")},
	} {
		t.Run(c.before.String()+" to "+c.next.String(), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				p := borrow(t)
				b := f.usual().bundle()
				before, next := f.site(), f.site()
				before.Services[0].MaxVerdict, next.Services[0].MaxVerdict = c.before, c.next
				p.publish(before, b)
				p.stand(next, before, b)
				p.want("stable is behind", f.syn(f.bot), c.behind)
				p.try(compiledFor(b), 1000)
				p.want("a candidate is not", f.syn(f.bot), c.current.by("candidate"))
				p.must(onlyError(p.Withdraw()))
				p.want("without it", f.syn(f.bot), c.behind)
				p.swap(compiledFor(b))
				p.want("a stable that is not", f.syn(f.bot), c.current)
				p.publishHost(next)
				p.want("as the host file counts for all", f.syn(f.bot), c.current)
			})
		})
	}
}
