// SPDX-License-Identifier: Apache-2.0

package signature

import "github.com/spillway/spillway/config/words"

const (
	ja4Example = "t13d1516h2_8daaf6152771_02713d6af862; * for an open part, but not for all three"
	p0fExample = `"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0" (version:ttl:olen:mss:window,scale:layout:quirks:payload)`
)

// Form says how a MuonFP is written.
func (MuonFP) Form() words.Form {
	return words.Form{Name: "MuonFP", Example: `"1024:2:1460:" (window:kinds:mss:scale)`,
		Field:   `"window:kinds:mss:scale" in quotes`,
		Pattern: `^[0-9]+:([0-9]+(-[0-9]+)*)?:[0-9]*:[0-9]*$`}
}

// Form says how a JA4 is written.
func (JA4) Form() words.Form {
	return words.Form{Name: "JA4", Example: ja4Example, Field: ja4Example,
		Pattern: `^(\*|t(13|12|11|10|s3|s2|00)[di][0-9]{4}[0-9A-Za-z]{2})_(\*|[0-9a-f]{12})_(\*|[0-9a-f]{12})$`}
}

// Form says how a p0f signature is written.
func (P0F) Form() words.Form {
	return words.Form{Name: "p0f signature", Example: p0fExample, Field: p0fExample,
		Pattern: `^[46*]:[0-9]+(\+[0-9]+|-)?:[0-9]+:([0-9]+|\*):(\*|(%|mss\*|mtu\*)?[0-9]+),([0-9]+|\*):[^:]*:[^:]*:[0+*]$`}
}
