// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"slices"

	"go4.org/netipx"
)

// rangeLines reads a first and a last address a line, a dash, a comma, a semicolon or blanks between them; what follows
// is a comment, or columns of no interest. A line of one address or prefix is that.
type rangeLines struct{ begun bool }

func (l *rangeLines) read(line []byte, row *Row, sum *Summary) (bool, *Misfit) {
	if commented(line) {
		return false, nil
	}
	begun := l.begun
	l.begun = true
	first, last := firstAndLast(line)
	whole := bytes.TrimRight(line, " \t\r")
	prefix := bytes.IndexByte(first, '/') >= 0
	if isAddress(first) && (len(last) == 0 || prefix && !isAddress(last)) {
		row.readPrefix(first)
		return true, nil
	}
	from, okFrom := parseAddr(first)
	to, okTo := parseAddr(last)
	row.Text = whole
	switch {
	case isNetmask(last) && !isNetmask(first):
		return false, netmask()
	case !okFrom && !okTo && !begun && isHeading(first, last):
		sum.Header = row.At.Line
		return false, nil
	case !okFrom && !prefix:
		row.Text, row.Problem = first, noAddress
		return true, recognise(whole, fieldEnd(whole))
	case prefix:
		row.Problem = "has a prefix, and a range is of two addresses"
	case !okTo:
		row.Problem = "has one address, and a range has a first and a last one"
	case from.Is4() != to.Is4():
		row.Problem = "is a range from one IP version to the other"
	case to.Less(from):
		row.Problem = "is a range that ends before it begins"
	default:
		row.Prefixes = netipx.IPRangeFrom(from, to).AppendPrefixes(row.Prefixes)
		row.Split, row.Unmapped = len(row.Prefixes) > 1, from.Is4() && bytes.IndexByte(first, ':') >= 0
	}
	return true, nil
}

// firstAndLast returns the two fields that a line begins with, without their quotes.
func firstAndLast(line []byte) (first, last []byte) {
	var found [2][]byte
	n := 0
	parts(line, 0, func(start, end int) bool {
		for part := range bytes.SplitSeq(line[start:end], []byte("-")) {
			if part = bytes.Trim(part, `"`); len(part) > 0 && n < len(found) {
				found[n] = part
				n++
			}
		}
		return n < len(found)
	})
	return found[0], found[1]
}

// isHeading reports whether the first line names the columns.
func isHeading(first, last []byte) bool {
	begins := func(text []byte, words ...string) bool {
		text = bytes.ToLower(text)
		return slices.ContainsFunc(words, func(w string) bool { return bytes.HasPrefix(text, []byte(w)) })
	}
	return begins(first, "start", "first", "from", "begin") && begins(last, "end", "last", "to", "stop")
}
