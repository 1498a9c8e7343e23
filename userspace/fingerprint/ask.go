// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// Kernel says what the dataplane makes of frames; a *probe.Probe is one.
type Kernel interface {
	// Ask sends one frame through the dataplane and hands its decisions to visit.
	Ask(frame []byte, visit func(bpf.Event)) error
	// Forget ends one connection, before frames of the next.
	Forget() error
	// Odd returns the reason of a decision when something is odd about the packet.
	Odd(bpf.Event) (bpf.Reason, bool)
}

// answer is what the kernel said of a connection.
type answer struct {
	syn synFacts
	tls *bpf.TLSFingerprint
	odd bpf.Reason // 0: nothing
}

// ask shows the frames of a connection to the kernel as they came: its SYNs, then those with its ClientHello. A
// ClientHello whose SYN is not in the capture, or that does not begin its stream, gets a SYN before it that the client
// did not send, and which tells nothing of it.
func (c *conn) ask(k Kernel) (answer, error) {
	var a answer
	note := func(e bpf.Event) {
		if reason, odd := k.Odd(e); odd {
			a.odd = reason
		}
		if e.HasTls != 0 {
			a.tls = &e.Tls
		}
	}
	for _, frame := range c.syns {
		err := k.Ask(frame, func(e bpf.Event) {
			note(e)
			a.syn = synFacts{e.HasFingerprint != 0, e.Fingerprint, e.Facts}
		})
		if err != nil {
			return a, err
		}
	}
	if !c.stream.isHello || a.tls != nil || c.isLong {
		return a, nil
	}
	if len(c.syns) == 0 || c.stream.helloAt != c.isn+1 {
		if err := k.Ask(openingFrame(c.flow, c.stream.helloAt-1), func(bpf.Event) {}); err != nil {
			return a, err
		}
		a.odd = 0
	}
	for _, f := range c.beginFirst() {
		if err := k.Ask(f.data, note); err != nil {
			return a, err
		}
		if a.tls != nil {
			break
		}
	}
	return a, nil
}

// beginFirst returns the frames that have bytes of the ClientHello or what follows, in their order but for one: the
// first that has its first byte comes first. A host knows by its socket where a stream begins; here is none, and the
// dataplane would take whatever comes first for the beginning: so there are none where none has that byte.
func (c *conn) beginFirst() []held {
	at := c.stream.helloAt
	frames := slices.DeleteFunc(slices.Clone(c.frames), func(f held) bool { return !before(at, f.end) })
	i := slices.IndexFunc(frames, func(f held) bool { return !before(at, f.seq) })
	if i < 0 {
		return nil
	}
	first := frames[i]
	copy(frames[1:i+1], frames[:i])
	frames[0] = first
	return frames
}

// openingFrame is a SYN without options.
func openingFrame(f flow, isn uint32) []byte {
	kind, ip := uint16(etherIPv6), make([]byte, 40)
	if f.from.Addr().Is4() {
		kind, ip = etherIPv4, make([]byte, 20)
		ip[0], ip[3], ip[8], ip[9] = 0x45, 20+20, 64, protoTCP
		copy(ip[12:], f.from.Addr().AsSlice())
		copy(ip[16:], f.to.Addr().AsSlice())
	} else {
		ip[0], ip[5], ip[6], ip[7] = 0x60, 20, protoTCP, 64
		copy(ip[8:], f.from.Addr().AsSlice())
		copy(ip[24:], f.to.Addr().AsSlice())
	}
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, f.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], f.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], isn)
	tcp[12], tcp[13] = 5<<4, flagSYN
	return withType(kind, append(ip, tcp...))
}

// tell puts together what is known of the connection.
func (c *conn) tell(k Kernel) (Connection, error) {
	told := Connection{Frame: c.frame, Time: c.time, Client: c.from, Server: c.to}
	own := c.byGo(&told)
	if k == nil {
		return told, nil
	}
	a, err := c.ask(k)
	if err == nil {
		err = k.Forget()
	}
	if err != nil {
		return told, err
	}
	told.MuonFP, told.P0F = "", ""
	told.By = ""
	told.takeSYN(a.syn)
	if a.syn.ok || a.tls != nil {
		told.By = ByKernel
	}
	switch {
	case a.tls != nil:
		told.Reason, told.Why = "", ""
		told.JA4, told.StableJA4 = compile.FormatJA4(*a.tls), compile.FormatStableJA4(*a.tls)
		if told.JA4 != own {
			told.note("the dataplane and this program read different ClientHellos; this program reads " + cmp.Or(own, "none"))
		}
	case own != "" && c.isCut:
		told.By = ByGo
		told.note("packets are cut short in the capture, so the dataplane was not asked")
	case own != "" && c.isLong:
		told.By = ByGo
		told.note("its frames are too long or too many, so the dataplane was not asked")
	case own != "":
		told.By = ByGo
		told.note("the dataplane gives no JA4: " + cmp.Or(oddName(a.odd), "it does not find the ClientHello"))
	case a.odd != 0 && a.odd != bpf.ReasonNotHello && oddName(a.odd) != told.Reason:
		told.note("the dataplane says " + oddName(a.odd))
	}
	return told, nil
}

func oddName(r bpf.Reason) string {
	if r == 0 {
		return ""
	}
	return bpf.ReasonName(r)
}

// byGo fills in what this package reads itself, and returns the JA4.
func (c *conn) byGo(told *Connection) (ja4 string) {
	if n := len(c.read); n > 0 {
		told.takeSYN(c.read[n-1])
	}
	if told.MuonFP != "" {
		told.By = ByGo
	}
	h := c.stream.hello
	if h == nil {
		told.Reason = c.reason()
		told.Why = whys[told.Reason]
		if told.Reason == reasonMalformed {
			told.Why = c.stream.err.Error()
		}
		return ""
	}
	told.By = ByGo
	told.JA4, told.JA4Raw = h.ja4()
	told.StableJA4 = h.stableJA4()
	told.JA3, told.JA3Text = h.ja3()
	if c.stream.helloAt != c.stream.begin {
		told.note(
			"the ClientHello comes after other data (STARTTLS, a proxy): on live traffic the dataplane does not look there")
	}
	if c.stream.wasLate {
		told.note("segments came out of order")
	}
	switch {
	case c.isEdited:
		told.note("segments with a wrong checksum are read, for no others came; a server takes none of them")
	case len(c.fakes) > 0:
		told.note("segments with a wrong checksum are left out: no server takes them")
	}
	if c.stream.late.differs {
		told.note("bytes came twice, and differ; what counts is what Linux takes")
	}
	if c.stream.isUrgent {
		told.note("it has an urgent byte, which the server does not read with the others")
	}
	return told.JA4
}

func (t *Connection) takeSYN(s synFacts) {
	if s.ok {
		t.MuonFP = compile.FormatFingerprint(s.fingerprint)
		t.P0F = compile.FormatP0F(s.fingerprint, s.facts)
	}
}

func (t *Connection) note(text string) { t.Notes = append(t.Notes, text) }
