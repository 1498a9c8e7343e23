// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// needLinear skips where the kernel puts as much of a frame into the first buffer as it holds, whatever is asked
// (before 6.18).
func (p *plane) needLinear() {
	p.t.Helper()
	frame := make([]byte, 100)
	_, _, err := p.RunAs(frame, loader.Arrival{Linear: 50})
	if errors.Is(err, unix.EINVAL) {
		p.t.Skip("not here: before Linux 6.18 the kernel chooses how much of a frame is linear")
	}
	p.must(err)
	p.sent++
	p.catchUp()
}

// Drivers choose how much of a frame is linear: a verdict, its reason and the frame that leaves are the same at every
// length.
func TestHeadersOutsideTheLinearPart(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().rule("odd", 40).reason("odd", "fragment").reason("odd", "malformed").bundle())
		p.needLinear()
		for _, k := range f.kinds() {
			frames := map[string]packet.Frame{}
			for name, d := range dressed(k.bot) {
				frames["a bot's "+k.name+" "+name] = d
			}
			for name, d := range dressed(k.visitor) {
				frames["a visitor's "+k.name+" "+name] = d
			}
			for name, d := range dressed(f.scan(f.visitor)) {
				frames["a scanner's SYN "+name] = d
			}
			for name, d := range frames {
				p.sameAtEveryLength(name, d.Bytes())
			}
		}
	})
}

// sameAtEveryLength compares what becomes of a frame in one buffer with what becomes of it for each length of the
// linear part; behind the headers of long ones only some.
func (p *plane) sameAtEveryLength(name string, frame []byte) {
	p.t.Helper()
	want := p.sendAs(frame, loader.Arrival{})
	for n := shortestFrame; n < len(frame); n++ {
		if n > 200 && n%37 != 0 && n < len(frame)-90 {
			continue
		}
		if got := p.sendAs(frame, loader.Arrival{Linear: n}); got != want {
			p.t.Errorf("%s, %d of %d bytes linear: %v, want %v", name, n, len(frame), got, want)
		}
	}
}

// sendAs is send for a frame that arrives in another way.
func (p *plane) sendAs(frame []byte, a loader.Arrival) string {
	p.t.Helper()
	action, out, err := p.RunAs(frame, a)
	p.must(err)
	if !bytes.Equal(frame, out) {
		p.t.Errorf("the program changed the frame %x: %x", frame, out)
	}
	p.sent++
	grown := p.catchUp()
	left := ""
	for c, n := range grown {
		left += fmt.Sprint(p.result(c, action), n)
	}
	return left
}
