// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"encoding/binary"
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/userspace/lab"
)

// track makes the room track its connections.
func (r *room) track() {
	r.t.Helper()
	if err := lab.Track(); err != nil {
		r.t.Fatal(err)
	}
}

// behind is the family's site whose web has its sockets elsewhere: nobody asks them, though they are here.
func (f family) behind() *config.Host {
	h := f.site()
	h.Services[0].Local = false
	return h
}

// tracked is a room with connection tracking, a dataplane whose web is behind, and a connection of src to it, of which
// the dataplane has seen nothing yet.
func tracked(t *testing.T, f family) (*plane, *conn) {
	t.Helper()
	p, r, l := tracking(t, f)
	return p, r.connect(l, f.visitor, true)
}

// tracking is the same without the connection.
func tracking(t *testing.T, f family) (*plane, *room, *net.TCPListener) {
	t.Helper()
	r := enter(t, f)
	r.track()
	p := open(t)
	if err := p.Conntrack(); err != nil {
		t.Fatal(err)
	}
	p.publish(f.behind(), nothing())
	return p, r, r.listen()
}

// serverEnd is what the client acknowledged: the number that the server sends next.
func (k *conn) serverEnd() uint32 {
	tcp, _ := tcpOf(k.ack)
	return binary.BigEndian.Uint32(tcp[8:])
}

// next is at(), with the ACK of the connection, less `behind`.
func (k *conn) next(n uint32, data []byte, behind uint32) packet.Frame {
	frame := k.at(n, data)
	tcp := frame.Body.(packet.TCP)
	tcp.Ack = k.serverEnd() - behind
	frame.Body = tcp
	return frame
}

const tlsFlow = confirmed | firstPayload | hasFingerprint | hasTLS

// "Confirmed only if this packet's seq is the original direction's td_end, and its ACK the reply's."
func TestConntrackConfirms(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, k := tracked(t, f)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("a hello with another ACK", k.next(0, hello, 1<<20), passes("unconfirmed"))
		p.want("a hello with an ACK of what was not sent", k.next(0, hello, ^uint32(0)), passes("unconfirmed"))
		p.want("a hello without an ACK", with(k.next(0, hello, 0), packet.PSH), passes("unconfirmed"))
		p.want("a forged SYN", f.segment(f.visitor, packet.TCP{Seq: k.isn + 90, Flags: packet.SYN}), passes("no_match"))
		p.want("a byte that fits it, but for the ACK", k.at(90, request), passes("not_hello"))
		p.want("and with the ACK", k.next(90, request, 0), passes("not_hello"))
		p.wantNoFlow("what strangers may send")
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("the hello", k.next(0, hello, 0), passes("no_match"))
		flow := p.wantFlow("confirmed", verdictPass, tlsFlow)
		if flow.Isn != k.isn {
			t.Errorf("the flow's ISN is %#x, the connection's %#x", flow.Isn, k.isn)
		}
	})
}

// A denied ClientHello is blocked and stored, in one segment and in two, in either order.
func TestConntrackStoresABlock(t *testing.T) {
	for name, order := range map[string][][2]int{
		"whole": {{0, len(hello)}}, "two": {{0, 30}, {30, len(hello)}}, "backwards": {{30, len(hello)}, {0, 30}},
		"tiny": {{0, 3}, {3, len(hello)}},
	} {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				p, k := tracked(t, f)
				p.want("the SYN of a scanner", k.synAs(f.scan(f.visitor)), passes("no_match"))
				p.swap(rules().rule("scanner", 100).tcp("scanner", scannerFP).bundle())
				var last string
				for _, part := range order {
					last = p.send(k.next(uint32(part[0]), hello[part[0]:part[1]], 0).Bytes()).Action
				}
				if last != "XDP_DROP" {
					t.Errorf("the last part: %s", last)
				}
				if flow, ok := p.flow(); !ok || flow.Verdict != verdictDrop {
					t.Errorf("the flow is %+v, %t; want it blocked", flow, ok)
				}
				p.want("again", k.next(uint32(order[0][0]), hello[order[0][0]:order[0][1]], 0),
					drops("tcp_fingerprint").by("stable"))
			})
		})
	}
}

// An ACK that is behind is one that a server may take: what it says is read, and a block of it is not stored.
func TestConntrackStoresNoDoubtedBlock(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, k := tracked(t, f)
		p.scannerKnocks(k)
		p.want("a hello whose ACK is behind", k.next(0, hello, 500), drops("tcp_fingerprint"))
		p.wantNoFlow("doubted")
		p.want("the hello", k.next(0, hello, 0), drops("tcp_fingerprint"))
		p.wantFlow("exact", verdictDrop, tlsFlow)
	})
}

// A swap cuts no connection on its way, whether its flow is remembered or not.
func TestConntrackSwapCutsNobody(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, k := tracked(t, f)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("the hello", k.next(0, hello, 0), passes("no_match"))
		k.write(hello)
		k.deliver()
		p.swap(f.everyone())
		more := []byte{0x17, 3, 3, 0, 1, 0}
		p.want("more of a known flow", k.next(uint32(len(hello)), more, 0), known())
		p.want("a SYN that somebody forged", f.segment(f.visitor, packet.TCP{Seq: 7, Flags: packet.SYN}), drops("prefix"))
		p.want("more, in order", k.next(uint32(len(hello)), more, 0), known())
		p.want("the hello again", k.next(0, hello, 0), known())
		for key := range p.flows() {
			p.must(p.pinned(bpf.DataplaneMapFlows).Delete(p.NameOf(key)))
		}
		p.zeroSYNs()
		p.want("more, when its flow was evicted", k.next(uint32(len(hello)), more, 0), passes("midstream"))
		p.wantFlow("taken up again", verdictPass, confirmed|firstPayload)
		p.want("and more", k.next(uint32(len(hello))+6, more, 0), known())
	})
}

func (p *plane) zeroSYNs() {
	p.t.Helper()
	for index := range p.records() {
		p.must(p.pinned(bpf.DataplaneMapSyns).Put(index, bpf.SynRecord{}))
	}
}

// A port that is used again: the new connection is judged, and only when it is one.
func TestConntrackPortIsUsedAgain(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, r, l := tracking(t, f)
		k := r.connect(l, f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("the hello", k.next(0, hello, 0), passes("no_match"))
		k.write(hello)
		k.deliver()
		k.reset()
		p.want("after its end", k.next(uint32(len(hello)), request, 0), known())
		again := r.connect(l, f.visitor, true)
		p.want("a SYN as a scanner sends it", again.synAs(f.scan(f.visitor)), passes("no_match"))
		p.swap(denyScanners())
		p.want("data of the old connection", k.next(uint32(len(hello)), request, 0), known())
		p.want("a hello of the old connection's number", k.next(0, hello, 0), known())
		p.want("the new hello", again.next(0, hello, 0), drops("tcp_fingerprint"))
		flow := p.wantFlow("the new connection's", verdictDrop, tlsFlow)
		if flow.Isn != again.isn {
			t.Errorf("the flow's ISN is %#x, the connection's %#x", flow.Isn, again.isn)
		}
		p.want("again", again.next(0, hello, 0), drops("tcp_fingerprint").by("stable"))
	})
}

// Where connection tracking is not asked, or cannot be, a payload is judged by itself.
func TestConntrackIsNotAsked(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, k := tracked(t, f)
		ask := p.away(bpf.ProgramConntrack)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("without the program", k.next(0, hello, 0), passes("unconfirmed"))
		ask()
		h := f.behind()
		h.Services[0].Confirm = config.ConfirmSocket
		p.publish(h, nothing())
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("confirm: socket", k.next(0, hello, 0), passes("unconfirmed"))
		p.wantNoFlow("not asked")
		p.publish(f.behind(), nothing())
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.want("asked", k.next(0, hello, 0), passes("no_match"))
		p.wantFlow("asked", verdictPass, tlsFlow)
	})
}

// away takes programs away from behind the dataplane, and returns who puts them back.
func (p *plane) away(programs ...uint32) (back func()) {
	p.t.Helper()
	arrays, err := filepath.Glob(filepath.Join(p.Pins, "v*", "programs", "*", "array"))
	if err != nil || len(arrays) != 1 {
		p.t.Fatalf("arrays %v, %v", arrays, err)
	}
	array, err := ebpf.LoadPinnedMap(arrays[0], nil)
	p.must(err)
	defer array.Close()
	for _, program := range programs {
		p.must(array.Delete(program))
	}
	return func() { p.must(p.RefillPrograms()) }
}

// An entry that was picked up in the middle says what its first packet said, and that is a stranger's.
func TestConntrackPickedUpConfirmsNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		r.track()
		p := open(t)
		p.publish(f.behind(), nothing())
		forged := f.data(f.other, 5000, request)
		tcp := forged.Body.(packet.TCP)
		tcp.Ack, tcp.DestPort = 6000, 9 // nobody listens, and nobody answers for the address
		forged.Body = tcp
		r.silence()
		r.inject(forged.Bytes())
		tcp.Seq += uint32(len(request))
		tcp.DestPort = webPort
		forged.Body = tcp
		r.inject(f.segment(f.other, packet.TCP{Seq: 5000, Ack: 6000, Flags: packet.ACK, Payload: request}).Bytes())
		p.want("the next of what was picked up", forged, passes("midstream"))
		p.wantNoFlow("picked up")
	})
}

// silence keeps the room from answering.
func (r *room) silence() {
	r.t.Helper()
	const mute = "table inet mute {\nchain c {\ntype filter hook output priority 0;\ntcp flags rst drop\n}\n}"
	if out, err := exec.Command("nft", mute).CombinedOutput(); err != nil {
		r.t.Fatalf("nft: %v\n%s", err, out)
	}
}
