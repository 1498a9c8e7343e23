// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config/yaml"
)

// Capacity is the size of the kernel maps, in rows.
type Capacity struct {
	// Prefixes4 is the number of IPv4 prefixes over all lists of a bundle.
	Prefixes4 int `yaml:"prefixes_v4" jsonschema:"minimum=1,maximum=2000000,default=100000"`
	// Prefixes6 is the number of IPv6 prefixes over all lists of a bundle.
	Prefixes6 int `yaml:"prefixes_v6" jsonschema:"minimum=1,maximum=2000000,default=100000"`
	// TCPFingerprints is the number of TCP fingerprints of a bundle.
	TCPFingerprints int `yaml:"tcp_fingerprints" jsonschema:"minimum=1,maximum=1000000,default=4096"`
	// JA4s is the number of JA4 features of a bundle.
	JA4s int `yaml:"ja4s" jsonschema:"minimum=1,maximum=1000000,default=16384"`
	// TCPSignatures is the number of p0f signatures of a bundle.
	TCPSignatures int `yaml:"tcp_signatures" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Rules is the number of rules of a bundle; a rule's index has 16 bits.
	Rules int `yaml:"rules" jsonschema:"minimum=1,maximum=65535,default=4096"`
	// Flows is the number of connections whose verdict is remembered.
	Flows int `yaml:"flows" jsonschema:"minimum=1,maximum=16777216,default=262144"`
	// Syns is the number of places for SYN facts; a power of two.
	Syns int `yaml:"syns" jsonschema:"minimum=1,maximum=16777216,default=65536"`
	// Hellos is the number of places for ClientHellos that are not whole yet, 24 KiB each; a power of
	// two. The loader makes at least eight.
	Hellos int `yaml:"hellos" jsonschema:"minimum=2,maximum=65536,default=2048"`
	// Shapes is the number of ClientHello shapes whose JA4 is remembered, and half as many more for those that a feature
	// names.
	Shapes int `yaml:"shapes" jsonschema:"minimum=1,maximum=4194304,default=16384"`
	// Bans is the number of bans at one time.
	Bans int `yaml:"bans" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Vouched is the number of sources that are spared for a while, because a web server vouches for them.
	Vouched int `yaml:"vouched" jsonschema:"minimum=1,maximum=4194304,default=16384"`
	// Allowlist is the number of protected prefixes.
	Allowlist int `yaml:"allowlist" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Services is the number of services.
	Services int `yaml:"services" jsonschema:"minimum=1,maximum=32,default=16"`
}

// DefaultCapacity is what a host file has that says nothing.
func DefaultCapacity() Capacity { return tagged("default") }

// LeastCapacity is the least that a host file may say.
func LeastCapacity() Capacity { return tagged("minimum") }

// tagged reads numbers off the tags, which the schema is made of, too.
func tagged(key string) (c Capacity) {
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		for part := range strings.SplitSeq(v.Type().Field(i).Tag.Get("jsonschema"), ",") {
			if text, ok := strings.CutPrefix(part, key+"="); ok {
				n, _ := strconv.Atoi(text)
				v.Field(i).SetInt(int64(n))
			}
		}
	}
	return c
}

// OrDefault returns c with the defaults for what is zero.
func (c Capacity) OrDefault() Capacity {
	v, d := reflect.ValueOf(&c).Elem(), reflect.ValueOf(DefaultCapacity())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			v.Field(i).Set(d.Field(i))
		}
	}
	return c
}

// Room returns the capacity of a name in the host file; 0 of one that there is not.
func (c Capacity) Room(name string) int {
	f := yaml.FieldsOf(reflect.TypeOf(c)).Named(name)
	if f == nil {
		return 0
	}
	return int(reflect.ValueOf(c).FieldByIndex(f.Index).Int())
}

// Room is a capacity that a bundle takes rows of.
type Room struct {
	Field string // ja4s: its name in the host file
	What  string // JA4 features
}

// Rooms returns what bundles take rows of.
func Rooms() []Room {
	out := []Room{{"rules", "rules"}, {"prefixes_v4", "IPv4 prefixes"}, {"prefixes_v6", "IPv6 prefixes"}}
	for _, t := range (&Bundle{}).Tallies() {
		if t.Room != "" {
			out = append(out, Room{t.Room, t.Many()})
		}
	}
	return out
}

// Counts are rows by the name of the capacity that has room for them.
type Counts map[string]int

// Counts returns the rows that the bundle takes.
func (b *Bundle) Counts() Counts {
	v4, v6 := b.PrefixCount()
	out := Counts{"rules": len(b.Rules), "prefixes_v4": v4, "prefixes_v6": v6}
	for _, t := range b.Tallies() {
		if t.Room != "" {
			out[t.Room] = t.Count
		}
	}
	return out
}
