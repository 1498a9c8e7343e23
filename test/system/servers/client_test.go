// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// visitor is served, and was read; else it says what is wrong.
func (s *site) visitor(p place, v server, f family, pieces ...[]byte) error {
	got, err := s.served(p, v, f, pieces...)
	if want := ja4Of(slices.Concat(pieces...)); err == nil && got != want {
		err = fmt.Errorf("read of the visitor: %s, want %s", got, want)
	}
	return err
}

// served returns what was read of a visitor who is served.
func (s *site) served(p place, v server, f family, pieces ...[]byte) (read string, err error) {
	c, err := s.dial(f.visitor, f.edge, p.port(v.port))
	if err != nil {
		return "", fmt.Errorf("the visitor: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := says(c, pieces...); err != nil {
		return "", fmt.Errorf("the visitor: %w", err)
	}
	ok, err := served(c)
	if !ok || err != nil {
		return "", fmt.Errorf("the visitor is not served: %w", err)
	}
	return readOf(s.flowOf(c)), nil
}

// bot is blocked by a stored block.
func (s *site) bot(p place, v server, f family, pieces ...[]byte) error {
	c, err := s.dial(f.bot(), f.edge, p.port(v.port))
	if err != nil {
		return fmt.Errorf("the bot: %w", err)
	}
	defer func() { _ = c.SetLinger(0); _ = c.Close() }()
	go func() { _ = says(c, pieces...) }() // what is long is not taken any more once it is blocked
	if !until(func() bool { return s.isBlocked(c) }) {
		return fmt.Errorf("the bot is not blocked: %s", readOf(s.flowOf(c)))
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	if n, _ := c.Read(make([]byte, 5)); n > 0 {
		return errors.New("the bot is served")
	}
	return s.abort(p, v, f, local(c))
}
