// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxP0FBucket is how many signatures the dataplane tries for one SYN: those of its IP version and option layout.
const MaxP0FBucket = 8

// P0F is a signature of a SYN in the syntax of p0f v3 (p0f docs/README section 5).
type P0F struct {
	Version uint8 // 4 or 6; 0: both
	// TTL as it is sent. A SYN may have come up to 35 hops; with RandomTTL, any number of them.
	TTL       uint8
	RandomTTL bool
	IPOptions uint8   // bytes of IPv4 options
	MSS       *uint16 // nil: any; 0: absent
	Window    Window
	Scale     *uint8 // nil: any; 0: absent
	// Layout is the kinds of the TCP options in their order. EOL is 0, and the last.
	Layout []uint8
	EOLPad uint8 // bytes after EOL
	Quirks Quirks
	// Payload says whether the SYN carries data.
	Payload Payload
}

// Window is what the window must be: a number, or a multiple of something.
type Window struct {
	Kind WindowKind
	N    uint16
}

// WindowKind tells the forms of Window apart. The numbers are the dataplane's.
type WindowKind uint8

// The forms *, n, %n, mss*n and mtu*n.
const (
	WindowAny WindowKind = iota
	WindowValue
	WindowModulo
	WindowMSS
	WindowMTU
)

var windowPrefixes = map[WindowKind]string{WindowValue: "", WindowModulo: "%", WindowMSS: "mss*", WindowMTU: "mtu*"}

// String returns *, 8192, %8192, mss*20 or mtu*4.
func (w Window) String() string {
	if w.Kind == WindowAny {
		return "*"
	}
	return windowPrefixes[w.Kind] + strconv.Itoa(int(w.N))
}

// Payload is the payload class.
type Payload byte

// The payload classes.
const (
	PayloadNone Payload = '0'
	PayloadSome Payload = '+'
	PayloadAny  Payload = '*'
)

// Quirks is a set of quirks; bit n is the n-th of quirkNames. The bits are the dataplane's.
type Quirks uint32

// quirkNames in the order in which p0f prints them.
var quirkNames = []string{"df", "id+", "id-", "ecn", "0+", "flow", "seq-", "ack+", "ack-", "uptr+", "urgf+", "pushf+",
	"ts1-", "ts2+", "opt+", "exws", "bad"}

// AllQuirks are those that have a name.
const AllQuirks Quirks = 1<<17 - 1

func quirk(name string) Quirks { return 1 << slices.Index(quirkNames, name) }

// QuirksOf returns the quirks that only packets of the IP version can have.
func QuirksOf(version uint8) Quirks {
	if version == 6 {
		return quirk("flow")
	}
	return quirk("df") | quirk("id+") | quirk("id-") | quirk("0+")
}

// String returns the names in p0f's order, joined by commas.
func (q Quirks) String() string {
	var names []string
	for i, name := range quirkNames {
		if q&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Has reports whether the set has the quirk of that name.
func (q Quirks) Has(name string) bool { return q.has(name) }

func (q Quirks) has(name string) bool { return q&quirk(name) != 0 }

// TCP option kinds that the checks name.
const (
	kindEOL = 0
	kindMSS = 2
	kindWS  = 3
	kindTS  = 8
)

// tcpOptionBytes is the room for options in a TCP header.
const tcpOptionBytes = 40

var layoutNames = map[uint8]string{kindEOL: "eol", 1: "nop", kindMSS: "mss", kindWS: "ws", 4: "sok", 5: "sack",
	kindTS: "ts"}

// layoutSizes are the bytes of an option, at least; of those that have no name, 2.
var layoutSizes = map[uint8]int{kindEOL: 1, 1: 1, kindMSS: 4, kindWS: 3, 4: 2, 5: 10, kindTS: 10}

// LayoutBytes returns how much room TCP options take at least.
func LayoutBytes(kinds []uint8, eolPad uint8) int {
	bytes := int(eolPad)
	for _, kind := range kinds {
		size, known := layoutSizes[kind]
		if !known {
			size = 2
		}
		bytes += size
	}
	return bytes
}

// FormatLayout returns the TCP options as p0f writes them, such as mss,nop,eol+1.
func FormatLayout(kinds []uint8, eolPad uint8) string {
	var b []byte
	for i, k := range kinds {
		if i > 0 {
			b = append(b, ',')
		}
		name, known := layoutNames[k]
		switch {
		case !known:
			b = strconv.AppendUint(append(b, '?'), uint64(k), 10)
		case k == kindEOL:
			b = strconv.AppendUint(append(b, "eol+"...), uint64(eolPad), 10)
		default:
			b = append(b, name...)
		}
	}
	return string(b)
}

// Versions returns the IP versions that the signature is for.
func (s P0F) Versions() []uint8 {
	if s.Version == 0 {
		return []uint8{4, 6}
	}
	return []uint8{s.Version}
}

// String returns the signature. ParseP0F(s.String()) equals s.
func (s P0F) String() string {
	ttl := strconv.Itoa(int(s.TTL))
	if s.RandomTTL {
		ttl += "-"
	}
	version, mss, scale := "*", "*", "*"
	if s.Version != 0 {
		version = strconv.Itoa(int(s.Version))
	}
	if s.MSS != nil {
		mss = strconv.Itoa(int(*s.MSS))
	}
	if s.Scale != nil {
		scale = strconv.Itoa(int(*s.Scale))
	}
	return fmt.Sprintf("%s:%s:%d:%s:%s,%s:%s:%s:%c", version, ttl, s.IPOptions, mss, s.Window, scale,
		FormatLayout(s.Layout, s.EOLPad), s.Quirks, s.Payload)
}
