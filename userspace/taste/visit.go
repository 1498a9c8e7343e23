// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"encoding/hex"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
)

// run shows the client's SYN, and then each ClientHello that it may send. A SYN or hello that was made up, because the
// host file does not say it, blocks nobody: only what it says counts.
func (v *visit) run() error {
	e, ok := v.between()
	if !ok {
		return nil
	}
	syns, err := v.opens(e)
	if err != nil || len(syns) == 0 || v.blocked != "" {
		return err
	}
	hellos, err := v.hellos()
	if err != nil {
		return err
	}
	for _, h := range hellos {
		// Behind one of several that were made up a pair may block it: what passes behind another is not blocked by what
		// it says.
		for _, syn := range syns {
			if err := v.greet(e, syn, h); err != nil {
				return err
			}
			if v.blocked == "" {
				break
			}
		}
		if v.blocked != "" {
			return nil
		}
	}
	return nil
}

// ordinary are SYNs of ordinary systems; whoever's SYN is not known gets those of them that nothing names.
var ordinary = []string{"64240:2-4-8-1-3:1460:7", "64240:2-1-3-1-1-4:1460:8", "65535:2-1-3-1-1-8-4-0:1460:6",
	"29200:2:1460:"}

// opens shows a SYN, and returns it; or those that it may send, where nothing says which it does. It returns none where
// none can be shown.
func (v *visit) opens(e ends) ([]opening, error) {
	var syn opening
	switch {
	case v.client.HasTCP():
		syn = openingOf(v.client.TCP)
	case v.client.HasP0F():
		syn = openingOfP0F(v.client.P0F)
	default:
		return v.opensAnyhow(e)
	}
	if _, err := v.ask("SYN", syn.frame(e)); err != nil {
		return nil, err
	}
	if v.blocked == "" && !v.looksRight() {
		v.warn("its SYN cannot be shown as the host file says it: %s came out",
			compile.FormatP0F(v.told.Fingerprint, v.told.Facts))
	}
	return []opening{syn}, nil
}

func (v *visit) looksRight() bool {
	if v.told.HasFingerprint == 0 {
		return false
	}
	if v.client.HasTCP() {
		return compile.FormatFingerprint(v.told.Fingerprint) == v.client.TCP.String()
	}
	seen, err := signature.ParseP0F(compile.FormatP0F(v.told.Fingerprint, v.told.Facts))
	return err == nil && v.client.P0F.Fits(seen)
}

func (v *visit) opensAnyhow(e ends) (syns []opening, err error) {
	for _, text := range ordinary {
		fp, err := signature.ParseMuonFP(text)
		if err != nil {
			return nil, err
		}
		syn := openingOf(fp)
		if _, err := v.ask("SYN", syn.frame(e)); err != nil {
			return nil, err
		}
		byAddress := v.addressAlone() && bpf.Reason(v.told.Reason) == bpf.ReasonPrefix
		if v.blocked != "" && byAddress {
			return []opening{syn}, nil
		}
		v.blocked = ""
		if v.told.Score == bpf.ScoreNone || bpf.Reason(v.told.Reason) == bpf.ReasonProtected {
			syns = append(syns, syn)
		}
	}
	if len(syns) == 0 {
		v.warn("it is not shown: each SYN that it could send is named by a feature")
	}
	return syns, nil
}

// hello is a ClientHello, and the JA4 that it has or stands for.
type hello struct {
	record []byte
	ja4    signature.JA4
	taught bool // the JA4 is looked up in its place
}

// hellos are those of the client: from the catalogue's lists where it has them, else one that stands for its JA4.
func (v *visit) hellos() ([]hello, error) {
	if !v.client.HasJA4() && v.client.Client == "" {
		return nil, nil
	}
	known, err := catalogue.Load()
	if err != nil {
		return nil, err
	}
	var out []hello
	for _, c := range known.Clients {
		for _, h := range c.Hellos {
			if c.Name == v.client.Client || v.client.HasJA4() && h.JA4 == v.client.JA4 {
				out = append(out, helloOf(h.JA4, h.Raw))
			}
			if v.client.HasJA4() && len(out) > 0 {
				return out, nil
			}
		}
	}
	if v.client.HasJA4() {
		out = append(out, helloOf(v.client.JA4, ""))
	}
	if len(out) == 0 {
		v.warn("the catalogue has no client of the name %s", v.client.Client)
	}
	return out, nil
}

// anyHello is a ClientHello that no client sends.
const anyHello = "t13d0205h2_1301,c02b_0005,000d,002b_0403"

func helloOf(ja4 signature.JA4, raw string) hello {
	if r, err := signature.ParseRawJA4(raw); err == nil {
		if record, ok := r.ClientHello(); ok {
			return hello{record: record, ja4: ja4}
		}
	}
	r, err := signature.ParseRawJA4(anyHello)
	record, ok := r.ClientHello()
	if err != nil || !ok {
		panic("taste: " + anyHello + " is no ClientHello")
	}
	return hello{record, ja4, true}
}

// greet shows a ClientHello behind the SYN. What stands for a JA4 is shown twice: once to be known, then under that
// JA4.
func (v *visit) greet(e ends, syn opening, h hello) error {
	if err := v.Teach(nil); err != nil {
		return err
	}
	for round := range 2 {
		if err := v.forget(); err != nil {
			return err
		}
		if _, err := v.ask("SYN", syn.frame(e)); err != nil {
			return err
		}
		v.blocked = ""
		if _, err := v.ask("ClientHello "+h.ja4.String(), syn.first(e, h.record)); err != nil {
			return err
		}
		if !h.taught || round == 1 {
			break
		}
		v.blocked = ""
		if err := v.Teach(tlsOf(h.ja4)); err != nil {
			return err
		}
	}
	if got := compile.FormatJA4(v.told.Tls); v.blocked == "" && (v.told.HasTls == 0 || got != h.ja4.String()) {
		v.warn("its ClientHello %s could not be shown", h.ja4)
	}
	return nil
}

// forget ends the connection that was shown last.
func (v *visit) forget() error { return v.ForgetFlow(v.told.Key) }

// tlsOf is what the dataplane would have computed. The stable JA4 is not known: features of that are not met.
func tlsOf(j signature.JA4) *bpf.TLSFingerprint {
	t := &bpf.TLSFingerprint{}
	copy(t.A[:], j.A)
	_, _ = hex.Decode(t.B[:], []byte(j.B))
	_, _ = hex.Decode(t.C[:], []byte(j.C))
	return t
}
