// SPDX-License-Identifier: Apache-2.0

package receiver

import "slices"

// pending are faults that are known and not mended yet: a schedule's fault is one of them when what is left of it after
// shrinking has one of these words. Every row goes when its fault is mended; none may come back.
var pending = []struct {
	faults []string
	words  []string
	until  string
}{
	{[]string{served, blocked, harmed}, []string{"bad sum", "MD5", "no ACK", "old stamp", "ancient stamp",
		"future stamp", "no stamp", "ACK beyond", "ACK too old", "far", "SYN", "bare SYN", "before", "early", "keep-alive"},
		"segments that the socket refuses say nothing"},
	{[]string{served, blocked, harmed}, []string{"FIN", "early FIN", "RST", "RST before"},
		"what follows the end of a connection says nothing"},
	{[]string{served, blocked, harmed}, []string{"other bytes", "order", "again"},
		"bytes that come twice and in several gaps are read as the socket takes them"},
	{[]string{served, blocked, harmed}, []string{"urgent byte", "urgent pointer"},
		"urgent bytes are not of the hello"},
	{[]string{served, blocked, harmed}, []string{"cookies", "no handshake ACK", "port used again"},
		"the socket's ISN decides whose a segment is"},
	{[]string{served}, []string{"long"}, "a hello of more than 6,144 bytes is read"},
}

// isPending returns what the fault waits for, "" for nothing.
func isPending(fault string, words []string) string {
	for _, p := range pending {
		if slices.Contains(p.faults, fault) && slices.ContainsFunc(p.words, func(w string) bool { return slices.Contains(words, w) }) {
			return p.until
		}
	}
	return ""
}
