// SPDX-License-Identifier: Apache-2.0

package reference

// cursor reads a structure of which perhaps only a prefix has come.
type cursor struct {
	came []byte // what has come, from the beginning of the message
	at   int    // the next byte to read
	end  int    // where the structure ends, by the length that was declared for it; may lie beyond what has come
	from int    // where that length stands
}

// malformed says that what is in the structure does not fit its length.
func (c *cursor) malformed(where Where) error { return &Error{ErrMalformed, where, c.from} }

// incomplete says that more of the message is needed.
func (c *cursor) incomplete(where Where) error { return &Error{ErrIncomplete, where, len(c.came)} }

func (c *cursor) empty() bool { return c.at == c.end }

// number reads a big-endian number of n bytes.
func (c *cursor) number(n int, where Where) (int, error) {
	if c.at+n > c.end {
		return 0, c.malformed(where)
	}
	if c.at+n > len(c.came) {
		return 0, c.incomplete(where)
	}
	value := 0
	for _, b := range c.came[c.at : c.at+n] {
		value = value<<8 | int(b)
	}
	c.at += n
	return value, nil
}

// skip steps over n bytes, which need not have come yet.
func (c *cursor) skip(n int, where Where) error {
	if c.at+n > c.end {
		return c.malformed(where)
	}
	c.at += n
	return nil
}

// vector reads a length of n bytes, steps over what it counts, and returns a cursor for that.
func (c *cursor) vector(n int, where Where) (cursor, error) {
	from := c.at
	length, err := c.number(n, where)
	if err != nil {
		return cursor{}, err
	}
	inner := cursor{came: c.came, at: c.at, end: c.at + length, from: from}
	if inner.end > c.end {
		return cursor{}, inner.malformed(where)
	}
	c.at = inner.end
	return inner, nil
}

// whole reads a vector that must reach to the end of the structure.
func (c *cursor) whole(n int, where Where) (cursor, error) {
	inner, err := c.vector(n, where)
	if err == nil && !c.empty() {
		err = inner.malformed(where)
	}
	return inner, err
}

// numbers reads the rest of the structure as numbers of n bytes.
func (c *cursor) numbers(n int, where Where) ([]uint16, error) {
	if (c.end-c.at)%n != 0 {
		return nil, c.malformed(where)
	}
	var all []uint16
	for !c.empty() {
		value, err := c.number(n, where)
		if err != nil {
			return nil, err
		}
		all = append(all, uint16(value))
	}
	return all, nil
}

// rest returns the bytes up to the end of the structure.
func (c *cursor) rest(where Where) ([]byte, error) {
	if c.end > len(c.came) {
		return nil, c.incomplete(where)
	}
	b := c.came[c.at:c.end:c.end]
	c.at = c.end
	return b, nil
}
