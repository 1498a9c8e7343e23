// SPDX-License-Identifier: Apache-2.0

package config

import _ "embed" // for the schemas

// The schemas are made from the types that the parser reads, their tags and their comments.
//
//go:generate go test -run ^TestSchemas$ -update .

//go:embed schema/host.schema.json
var hostSchema []byte

//go:embed schema/bundle.schema.json
var bundleSchema []byte

// HostSchema returns the JSON Schema (draft 2020-12) of the host file, for editors.
func HostSchema() []byte { return append([]byte(nil), hostSchema...) }

// BundleSchema returns the JSON Schema (draft 2020-12) of the bundle, for editors. It knows no names across the file:
// that a rule exists is for the loader to say.
func BundleSchema() []byte { return append([]byte(nil), bundleSchema...) }
