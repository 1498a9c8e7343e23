// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

// causeReset is why a page did not come when the connection was reset.
const causeReset = "reset"

// client is somebody who asks for pages, one connection each, and says how each of them ended.
type client struct {
	name string // as the catalogue calls it

	mu     sync.Mutex // guards all below
	total  tally
	visits []visit // those of the last sampleSpan, oldest first
	last   string  // why the last page did not come
	words  []string
}

// tally counts pages.
type tally struct{ asked, served, resets uint64 }

func (t tally) minus(u tally) tally {
	return tally{t.asked - u.asked, t.served - u.served, t.resets - u.resets}
}

// visit is one page that came, or did not for a cause.
type visit struct {
	at    time.Time
	cause string
}

func (t *tally) add(cause string) {
	t.asked++
	switch cause {
	case "":
		t.served++
	case causeReset:
		t.resets++
	}
}

// ended counts a page: cause is "" when it came.
func (c *client) ended(cause string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.add(cause)
	if cause != "" {
		c.last = cause
	}
	c.forget(now)
	c.visits = append(c.visits, visit{now, cause})
}

// forget drops what is older than a sample; c.mu is held.
func (c *client) forget(now time.Time) {
	for len(c.visits) > 0 && now.Sub(c.visits[0].at) > sampleSpan {
		c.visits = c.visits[1:]
	}
}

// sum returns everything since the start.
func (c *client) sum() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// window returns the last sampleSpan.
func (c *client) window() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(time.Now())
	var t tally
	for _, v := range c.visits {
		t.add(v.cause)
	}
	return t
}

// failure returns why the last page did not come, "" when all came.
func (c *client) failure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// lastWords returns the end of what its program said beside how pages ended.
func (c *client) lastWords() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.words, "\n")
}

// endedLine is how a program says how a page ended; a browser puts quotes and more around it.
var endedLine = regexp.MustCompile(`spillway: (?:served|failed ([^"]*))`)

// keptWords is how many lines of a program are kept for when it does not do what it should.
const keptWords = 4

// read takes a line that its program printed.
func (c *client) read(line string) {
	if m := endedLine.FindStringSubmatch(line); m != nil {
		c.ended(strings.TrimSpace(m[1]))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = append(c.words, line)
	c.words = c.words[max(0, len(c.words)-keptWords):]
}
