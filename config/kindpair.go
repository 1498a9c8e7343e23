// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/yaml"
)

// PairFeature points from a TCP stack and a TLS client on one connection to a rule. A family of TCP is a class of
// systems, one of TLS the library or browser that a ClientHello is typical of; the catalogue says which fingerprints
// belong to it.
type PairFeature struct {
	// Rule of this pair, by its id.
	Rule string `yaml:"rule" json:"rule" jsonschema:"required"`
	// TCP is the family of the SYN. A SYN that several families send is of each of them.
	TCP string `yaml:"tcp" json:"tcp" jsonschema:"required,enum=windows,enum=apple,enum=linux,enum=android,enum=raw"`
	// TLS is the family of the ClientHello.
	TLS string `yaml:"tls" json:"tls" jsonschema:"required,enum=chrome,enum=firefox,enum=safari,enum=go,enum=openssl,enum=gnutls,enum=nss,enum=java,enum=node,enum=conscrypt"`
}

var pairKind = family[PairFeature]{
	key: "pairs", what: "pair", one: "pair", this: "the pair", text: "tcp", more: "tls", unsaid: true, once: true,
	in:   func(f *Features) *[]PairFeature { return &f.Pairs },
	rule: func(f *PairFeature) *string { return &f.Rule },
	name: PairFeature.String,
	compare: func(a, b PairFeature) int {
		return strings.Compare(a.String(), b.String())
	},
	sound: PairFeature.sound,
	check: func(l *bundleLoader) { l.needsTLS("pairs", len(l.b.Pairs), "no pair") },
}

// sound refuses families that this release does not know.
func (f PairFeature) sound() error {
	if !slices.Contains(TCPFamilies(), f.TCP) || !slices.Contains(TLSFamilies(), f.TLS) {
		return errors.New("no family of the catalogue")
	}
	return nil
}

// TCPFamilies returns the families of SYNs that a pair may name, in the order of the tag.
func TCPFamilies() []string { return familiesOf("tcp") }

// TLSFamilies returns the families of ClientHellos that a pair may name, in the order of the tag.
func TLSFamilies() []string { return familiesOf("tls") }

func familiesOf(field string) []string {
	return slices.Clone(yaml.FieldsOf(reflect.TypeFor[PairFeature]()).Named(field).Limits.Enum)
}

// String returns both families, windows × go.
func (f PairFeature) String() string { return f.TCP + " × " + f.TLS }
