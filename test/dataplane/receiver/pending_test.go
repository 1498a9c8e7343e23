// SPDX-License-Identifier: Apache-2.0

package receiver

import "slices"

// pending are faults that are known and not mended yet: a schedule's fault is one of them when what is left of it after
// shrinking has all of these words. Every row goes when its fault is mended; none may come back.
var pending = []struct {
	faults []string
	words  []string
	until  string
}{
	{[]string{blocked}, []string{"FIN", "order"}, "a FIN that waits behind a gap ends what is read"},
	{[]string{blocked}, []string{"early FIN", "order"}, "a FIN that waits behind a gap ends what is read"},
	{[]string{served}, []string{"cookies", "no handshake ACK"}, "what comes before there is a socket is held as a listener would take it"},
	{[]string{blocked, harmed}, []string{"urgent pointer"}, "an urgent pointer counts that comes without data"},
	{[]string{blocked}, []string{"old stamp"}, "a clock that goes back is seen behind one that was far ahead"},
}

// isPending returns what the fault waits for, "" for nothing.
func isPending(fault string, words []string) string {
	for _, p := range pending {
		if slices.Contains(p.faults, fault) && !slices.ContainsFunc(p.words, func(w string) bool { return !slices.Contains(words, w) }) {
			return p.until
		}
	}
	return ""
}
