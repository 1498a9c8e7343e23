// SPDX-License-Identifier: Apache-2.0

package signature

import "encoding"

// Text is a signature as the reader of a file meets it: one YAML scalar with a form of its own.
type Text interface {
	encoding.TextUnmarshaler
	Former
}

// Former is what has a form. A new kind of signature needs no other word to the reader of files, or to the schema.
type Former interface{ Form() Form }

// Form says how a signature is written.
type Form struct {
	Name string // for "is no MuonFP"
	// Example is what a person may copy, told of a text that cannot be read; Field is told where there is none at all.
	Example, Field string
	// Pattern is the schema's: what it refuses the parser refuses, too.
	Pattern string
}

const (
	ja4Example = "t13d1516h2_8daaf6152771_02713d6af862; * for an open part, but not for all three"
	p0fExample = `"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0" (version:ttl:olen:mss:window,scale:layout:quirks:payload)`
)

// Form says how a MuonFP is written.
func (MuonFP) Form() Form {
	return Form{"MuonFP", `"1024:2:1460:" (window:kinds:mss:scale)`, `"window:kinds:mss:scale" in quotes`,
		`^[0-9]+:([0-9]+(-[0-9]+)*)?:[0-9]*:[0-9]*$`}
}

// Form says how a JA4 is written.
func (JA4) Form() Form {
	return Form{"JA4", ja4Example, ja4Example,
		`^(\*|t(13|12|11|10|s3|s2|00)[di][0-9]{4}[0-9A-Za-z]{2})_(\*|[0-9a-f]{12})_(\*|[0-9a-f]{12})$`}
}

// Form says how a p0f signature is written.
func (P0F) Form() Form {
	return Form{"p0f signature", p0fExample, p0fExample,
		`^[46*]:[0-9]+(\+[0-9]+|-)?:[0-9]+:([0-9]+|\*):(\*|(%|mss\*|mtu\*)?[0-9]+),([0-9]+|\*):[^:]*:[^:]*:[0+*]$`}
}
