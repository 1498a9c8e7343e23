// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"fmt"
)

// plainLines reads one address or prefix a line. What follows it is a comment, or columns that can be no address and no
// mask: whatever else it is, one field of it is half of the truth.
type plainLines struct{}

func (plainLines) read(line []byte, row *Row, _ *Summary) (bool, *Misfit) {
	if commented(line) {
		return false, nil
	}
	end := fieldEnd(line)
	row.readPrefix(line[:end])
	if row.Problem != "" {
		return true, recognise(line, end)
	}
	if end < len(line) {
		return true, rest(line, end)
	}
	return true, nil
}

// fieldEnd returns where the first field of a line ends.
func fieldEnd(line []byte) int {
	end := 0
	for end < len(line) && !blank(line[end]) && !ends(line[end]) {
		end++
	}
	return end
}

// ends are what ends the first field, beside blanks.
func ends(c byte) bool { return c == '#' || c == ';' || c == ',' || c == '|' }

// parts calls each for what stands in a line between blanks and separators, from an offset on and up to a comment,
// until it returns false. A semicolon is a separator where it stands close on both sides.
func parts(line []byte, from int, each func(start, end int) bool) {
	for i := from; i < len(line); {
		c := line[i]
		if c == '#' || c == ';' && (i == 0 || blank(line[i-1]) || i+1 == len(line) || blank(line[i+1])) {
			return
		}
		if blank(c) || ends(c) {
			i++
			continue
		}
		start := i
		for i < len(line) && !blank(line[i]) && !ends(line[i]) {
			i++
		}
		if !each(start, i) {
			return
		}
	}
}

// rest refuses what follows an address and is another one, or may be its mask.
func rest(line []byte, end int) (misfit *Misfit) {
	first, column := line[:end], 1
	parts(line, end, func(start, stop int) bool {
		column++
		part := bytes.Trim(line[start:stop], `"'`)
		second := bytes.TrimLeft(part, "-")
		switch {
		case len(second) == 0: // a dash between two addresses, or one for nothing
		case isNetmask(second) && column == 2:
			misfit = netmask()
		case isAddress(second) && bytes.IndexByte(first, '/') < 0:
			misfit = &Misfit{Problem: "two addresses in a line",
				Valid: "format: ranges where they are the first and the last of a range; where one of them counts, " +
					csvBlock(line, 1)}
		case isAddress(second):
			misfit = &Misfit{Problem: "an address behind a prefix",
				Valid: csvBlock(line, 1) + ", or the address in a comment (#)"}
		case column == 2 && bytes.IndexByte(first, '/') < 0 && mayBeLength(first, part):
			misfit = &Misfit{Problem: fmt.Sprintf("a number behind the address that may be its length: /%s", part),
				Valid: "192.0.2.0/24 where it is; where it is not, " + csvBlock(line, 1)}
		}
		if misfit != nil {
			misfit.At.Column = start
		}
		return misfit == nil
	})
	return misfit
}

// isNetmask reports whether an address is a mask: as an address nobody has it. The last one of all ends some ranges.
func isNetmask(text []byte) bool {
	return bytes.HasPrefix(text, []byte("255.")) && isAddress(text) && string(text) != "255.255.255.255"
}

// netmask refuses lines that no format reads: as a range they would be most of the Internet.
func netmask() *Misfit {
	return &Misfit{Problem: "an address and a netmask", Valid: "a file with prefixes (192.0.2.0/24)", none: true}
}

// mayBeLength reports whether a number could be the length of a prefix of the address.
func mayBeLength(addr, part []byte) bool {
	n, end := digits(part, 0)
	most := 32
	if bytes.IndexByte(addr, ':') >= 0 {
		most = 128
	}
	return end == len(part) && n <= most
}

// csvBlock is what to write for a line whose address is in a column.
func csvBlock(line []byte, column int) string {
	return fmt.Sprintf("format: csv, column: %d%s", column, separatorText(separatorOf(line)))
}

// separatorOf guesses what separates the columns of a line, for a proposal.
func separatorOf(line []byte) byte {
	for _, c := range []byte("\t,;|") {
		if bytes.IndexByte(line, c) >= 0 {
			return c
		}
	}
	return ' '
}

// separatorText is the key that a separator needs, with a comma before it; "" for the default.
func separatorText(c byte) string {
	switch c {
	case ',':
		return ""
	case '\t':
		return ", separator: tab"
	case ' ':
		return ", separator: space"
	}
	return fmt.Sprintf(`, separator: "%c"`, c)
}
