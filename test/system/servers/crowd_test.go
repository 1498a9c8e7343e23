// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"errors"
	"fmt"
	"testing"
)

// crowd is how many hellos of others begin between the two halves of one: half of the places that there are by default.
const crowd = 500

// half is a connection whose hello began.
type half struct {
	*raw
	name   string
	isBot  bool
	finish func() error
}

// A crowd of others, none of which goes on, hides no hello whose second half comes after them all: the listed ones are
// blocked, the visitors served and read. The capacity is the default one.
func (w *wire) crowded(t *testing.T, bot, visitor []byte) {
	const cut = 100
	var halves []half
	wrong := 0
	begin := func(p place, v server, f family, stream []byte) *raw {
		r, err := w.dial(p, v, f, stream)
		if err != nil {
			t.Fatalf("%s, %s, %s: %v", v.name, p.name, f.name, err)
		}
		r.send(r.part(0, cut))
		return r
	}
	for _, p := range places {
		for _, v := range servers {
			for _, f := range families {
				// The visitor first: s_server takes one after the other.
				for _, isBot := range []bool{false, true} {
					stream := map[bool][]byte{false: visitor, true: bot}[isBot]
					r := begin(p, v, f, stream)
					halves = append(halves, half{r, fmt.Sprintf("%s, %s, %s, bot %t", v.name, p.name, f.name, isBot), isBot,
						func() error { return r.close(p, v, f) }})
				}
			}
		}
	}
	for i := range crowd {
		begin(places[0], servers[0], families[i%2], visitor)
	}
	for _, h := range halves {
		h.send(h.part(cut, len(h.stream)))
		err := h.isAsItShould()
		if err = errors.Join(err, h.finish()); err != nil {
			if h.isBot {
				t.Errorf("%s: %v", h.name, err)
				continue
			}
			t.Logf("%s: %v", h.name, err)
			wrong++
		}
	}
	if wrong > 1 { // a server may close a connection of its own accord
		t.Errorf("%d of %d visitors", wrong, len(halves)/2)
	}
}

func (h half) isAsItShould() error {
	if h.isBot {
		return h.isBlocked()
	}
	if err := h.isServed(); err != nil {
		return fmt.Errorf("%w, read: %s", err, h.flow())
	}
	if got, want := h.flow(), ja4Of(h.stream); got != want {
		return fmt.Errorf("read of the visitor: %s, want %s", got, want)
	}
	return nil
}
