// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"fmt"
	"regexp"
)

// hopeless is after how many rows a file is refused as a whole, of which none was an address.
const hopeless = 20

// noneFits refuses a file of which no row is an address, with one fault and not one for each row.
func noneFits(as Format, row *Row) error {
	return &Misfit{At: row.At,
		Problem: fmt.Sprintf("none of the first %d rows has an address where format: %s looks for it", hopeless, as),
		Valid:   "another format (spillway lists probe FILE says which)"}
}

var (
	asNumber = regexp.MustCompile(`^(?i:AS)[0-9]{1,10}\b`)
	withPort = regexp.MustCompile(`^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`)
	webPage  = regexp.MustCompile(`^(?i:https?|ftp)://`)
	hostName = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)+[A-Za-z][A-Za-z0-9-]+\.?$`)
	html     = regexp.MustCompile(`(?i)^<(!doctype|!--|\?xml|/?[a-z]+[ >/])`)
)

// recognise says what a line is whose first field is no address, nil where nobody knows: it is a bad row then.
func recognise(line []byte, end int) *Misfit {
	first := line[:end]
	whole := bytes.TrimRight(line, " \t\r")
	switch {
	case html.Match(line):
		return &Misfit{Problem: "this is HTML or XML", Valid: "the list itself, as its server sends it to programs"}
	case beginsJSON(line):
		return &Misfit{Problem: "this is JSON", Valid: "format: json"}
	case asNumber.Match(first):
		return &Misfit{Problem: fmt.Sprintf("%s is the number of a network (AS), not an address", first),
			Valid: "the prefixes that the network announces"}
	case withPort.Match(first):
		return &Misfit{Problem: fmt.Sprintf("%s is an address with a port", first),
			Valid: "a list of addresses without ports"}
	case webPage.Match(first):
		return &Misfit{Problem: "this is a list of pages (URLs), not of addresses", Valid: "a list of addresses"}
	case isRange(first) || isRangeOf(whole):
		return &Misfit{Problem: "this is a range, first-last", Valid: "format: ranges"}
	case isNamedRange(whole):
		return &Misfit{Problem: "this is a p2p list, name:first-last",
			Valid: "first-last alone, without the name, and format: ranges"}
	}
	if c := separatorOf(line); c != ' ' || end < len(line) {
		if n := columnOf(line, c); n > 0 {
			return &Misfit{Problem: fmt.Sprintf("the address is in column %d", n), Valid: csvBlock(line, n)}
		}
	}
	if hostName.Match(first) {
		return &Misfit{Problem: fmt.Sprintf("%s is the name of a host, not an address", first), Valid: "a list of addresses"}
	}
	return nil
}

// isRange reports whether a text is two addresses with a dash between them.
func isRange(text []byte) bool {
	first, last, ok := bytes.Cut(text, []byte("-"))
	return ok && isAddress(bytes.TrimSpace(first)) && isAddress(bytes.TrimSpace(last))
}

// isRangeOf is isRange for the beginning of a line.
func isRangeOf(line []byte) bool {
	first, last, ok := bytes.Cut(line, []byte("-"))
	if !ok || !isAddress(bytes.TrimSpace(first)) {
		return false
	}
	fields := bytes.Fields(last)
	return len(fields) > 0 && isAddress(fields[0])
}

// isNamedRange reports whether a line is a name, a colon and a range.
func isNamedRange(line []byte) bool {
	i := bytes.LastIndexByte(line, ':')
	return i > 0 && isRange(line[i+1:])
}

// columnOf returns the number of the first column with an address; 0 for none.
func columnOf(line []byte, separator byte) int {
	cells, ok := cellsOf(line, separator, nil)
	for i, c := range cells {
		if ok && isAddress(c.text) {
			return i + 1
		}
	}
	return 0
}
