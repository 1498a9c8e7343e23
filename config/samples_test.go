// SPDX-License-Identifier: Apache-2.0

package config

// minimalHost and minimalBundle are the shortest files that load; tests change one thing in them.
const minimalHost = `version: 1
interfaces:
  - name: eth0
services:
  - {name: web, port: 443, kind: tls}
`

const minimalBundle = `version: 1
name: test
rules:
  - {id: bad, label: bad, score: 100}
features:
  prefixes:
    - list: own
      rule: bad
      entries: [198.51.100.0/24]
`

// clientBundle has every kind of JA4 feature and p0f signature, in an order that is not the canonical one.
const clientBundle = rulesAB + `  ja4:
    - {rule: b, match: t13i1516h2_8daaf6152771_02713d6af862}
    - {rule: a, match: t13d1516h2_8daaf6152771_02713d6af862, stable: true}
    - {rule: a, match: t13d1516h2_8daaf6152771_02713d6af862}
    - {rule: b, match: "*_8daaf6152771_*"}
  p0f:
    - {rule: b, signature: "4:54+10:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0"}
    - {rule: a, signature: "*:64:0:1460:%8192,*:mss,nop,eol+1::*"}
    - {rule: b, signature: "6:128-:0:*:mtu*4,0:mss,?79:flow,seq-:+"}
    - {rule: a, signature: "*:64:0:*:*,*:mss,sok,ts,nop,ws:df,flow:0"}
    - {rule: b, signature: "4:255:4:0:65535,0::bad:0"}
policy: {default: {drop: 80, reset: 95}}
`
