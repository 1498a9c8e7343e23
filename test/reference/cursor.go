// SPDX-License-Identifier: Apache-2.0

package reference

// cursor reads a structure of which perhaps only a prefix has come.
type cursor struct {
	came []byte // what has come, from the beginning of the message
	at   int    // the next byte to read
	end  int    // where the structure ends, by the length that was declared for it; may lie beyond what has come
}

// fail returns an error at the cursor.
func (c *cursor) fail(kind error, where Where) error {
	return &Error{Kind: kind, Where: where, Offset: c.at}
}

func (c *cursor) empty() bool { return c.at == c.end }

// number reads a big-endian number of n bytes.
func (c *cursor) number(n int, where Where) (int, error) {
	if c.at+n > c.end {
		return 0, c.fail(ErrMalformed, where)
	}
	if c.at+n > len(c.came) {
		return 0, c.fail(ErrIncomplete, where)
	}
	value := 0
	for _, b := range c.came[c.at : c.at+n] {
		value = value<<8 | int(b)
	}
	c.at += n
	return value, nil
}

// part steps over the next n bytes and returns a cursor for them. They need not have come yet.
func (c *cursor) part(n int, where Where) (cursor, error) {
	if c.at+n > c.end {
		return cursor{}, c.fail(ErrMalformed, where)
	}
	inner := cursor{came: c.came, at: c.at, end: c.at + n}
	c.at += n
	return inner, nil
}

// vector reads a length of n bytes and returns a cursor for what it counts.
func (c *cursor) vector(n int, where Where) (cursor, error) {
	length, err := c.number(n, where)
	if err != nil {
		return cursor{}, err
	}
	return c.part(length, where)
}

// whole reads a vector that must reach to the end of the structure.
func (c *cursor) whole(n int, where Where) (cursor, error) {
	inner, err := c.vector(n, where)
	if err == nil && !c.empty() {
		err = c.fail(ErrMalformed, where)
	}
	return inner, err
}

// numbers reads the rest of the structure as numbers of n bytes.
func (c *cursor) numbers(n int, where Where) ([]uint16, error) {
	if (c.end-c.at)%n != 0 {
		return nil, c.fail(ErrMalformed, where)
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
		return nil, c.fail(ErrIncomplete, where)
	}
	b := c.came[c.at:c.end:c.end]
	c.at = c.end
	return b, nil
}
