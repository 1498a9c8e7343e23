// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/packet"
)

// fragmentAt is where IP cuts the hello's segment: behind the TCP header, in the first bytes of the hello.
const fragmentAt = 64

// fragments sends a segment in two fragments of IP.
func (r *raw) fragments(tcp packet.TCP) {
	tcp.SourcePort, tcp.DestPort, tcp.Window = r.from.Port(), r.to.Port(), 64240
	f := packet.Frame{Source: r.from.Addr(), Dest: r.to.Addr(), Body: packet.Raw{}}
	head := len(f.Bytes())
	f.Body = tcp
	content := f.Bytes()[head:]
	for _, part := range []struct{ from, to int }{{0, fragmentAt}, {fragmentAt, len(content)}} {
		f.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: content[part.from:part.to]}
		f.Fragment = &packet.Fragment{Offset: uint16(part.from / 8), More: part.to < len(content), ID: uint32(r.from.Port())}
		r.put(f)
	}
}

// A hello in fragments is served, by default, without a JA4: each is told as a fragment, which a policy may score. One
// that drops them has the hello come in one piece: then a listed one is blocked, and a visitor served and read.
func (w *wire) fragmented(t *testing.T, bot, visitor []byte) {
	for _, is := range []config.Fragments{config.FragmentsPass, config.FragmentsDrop} {
		b := deny(t, bot)
		for name, policy := range b.Policy {
			policy.Fragments = is
			b.Policy[name] = policy
		}
		w.s.publish(b)
		outcome := map[config.Fragments]bpf.Outcome{config.FragmentsPass: bpf.OutcomePass,
			config.FragmentsDrop: bpf.OutcomeDrop}[is]
		told := func() uint64 { return w.s.Packets(int(bpf.ReasonFragment), int(outcome)) }
		before := told()
		var wg sync.WaitGroup
		for _, p := range places {
			for _, v := range servers {
				wg.Go(func() {
					for _, f := range families {
						for _, isBot := range []bool{false, true} {
							stream := map[bool][]byte{false: visitor, true: bot}[isBot]
							if err := w.fragmentCell(p, v, f, stream, isBot, is); err != nil {
								t.Errorf("%s, %s, %s, fragments: %s, bot %t: %v", v.name, p.name, f.name, is, isBot, err)
							}
						}
					}
				})
			}
		}
		wg.Wait()
		if n, cells := told()-before, len(places)*len(servers)*len(families)*2; n < uint64(cells) {
			t.Errorf("fragments: %s: %d fragments told of %d cells", is, n, cells)
		}
	}
}

func (w *wire) fragmentCell(p place, v server, f family, stream []byte, isBot bool, is config.Fragments) error {
	r, err := w.dial(p, v, f, stream)
	if err != nil {
		return err
	}
	r.fragments(r.part(0, len(stream)))
	if is == config.FragmentsPass {
		err = r.isServed()
		if read := r.flow(); err == nil && read == ja4Of(stream) {
			err = errors.New("its JA4 was read, so this shows nothing")
		}
		return errors.Join(err, r.close(p, v, f))
	}
	r.send(r.part(0, len(stream)))
	err = half{raw: r, isBot: isBot}.isAsItShould()
	if err != nil {
		err = fmt.Errorf("sent again whole: %w", err)
	}
	return errors.Join(err, r.close(p, v, f))
}
