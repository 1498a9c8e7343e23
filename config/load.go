// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"

	"github.com/spillway/spillway/config/yaml"
)

// LoadHost reads the host file. Its error is a *yaml.Faults.
func LoadHost(path string) (*Host, error) {
	data, err := ReadHost(path)
	if err != nil {
		return nil, err
	}
	return ParseHost(path, data)
}

// ReadHost reads the bytes of a host file for ParseHost: of a regular file, and not more than one may have, so that
// neither a pipe nor a file without end keeps whoever asks. Its error is a *yaml.Faults.
func ReadHost(path string) ([]byte, error) {
	return yaml.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path), path)
}

// ParseHost reads a host file from memory; name is for the faults. Its error is a *yaml.Faults.
func ParseHost(name string, data []byte) (*Host, error) {
	out := yaml.NewCollector()
	d := newReader(name, data, out)
	n := yaml.Document(d.Src, out)
	if n == nil {
		return nil, out.Err()
	}
	host := DefaultHost()
	if d.Versioned(n, Version) {
		d.Into(n, host)
		d.checkHost(host)
	}
	if err := out.Err(); err != nil {
		return nil, err
	}
	return host, nil
}
