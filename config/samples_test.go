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
