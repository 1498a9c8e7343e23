// SPDX-License-Identifier: Apache-2.0

package config

import "embed"

// Examples holds a commented host file (examples/spillway.yaml), a bundle (examples/bundle.yaml) and its list files,
// and a list bundle of pairs (examples/pairs.yaml).
//
//go:embed examples
var Examples embed.FS
