// SPDX-License-Identifier: Apache-2.0

package config

import "github.com/spillway/spillway/config/yaml"

// reader is a decoder with the checks that files have in common.
type reader struct{ *yaml.Decoder }

func newReader(name string, data []byte, out *yaml.Collector) *reader {
	return &reader{yaml.NewDecoder(yaml.NewSource(name, data), out)}
}
