// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"embed"
	"fmt"
	"io/fs"
	"path"

	"github.com/spillway/spillway/config/yaml"
)

//go:embed *.yaml
var files embed.FS

// version of the format.
const version = 1

// document is one file of the catalogue as it is written.
type document struct {
	// Version of this format; 1.
	Version int `yaml:"version" jsonschema:"required,enum=1"`
	// Clients are TLS clients.
	Clients []KnownClient `yaml:"clients"`
	// Stacks are TCP stacks.
	Stacks []KnownStack `yaml:"stacks"`
}

// Load reads the catalogue that this program carries. It fails only when the program was built wrong.
func Load() (*Catalogue, error) {
	return Parse(files)
}

// Parse reads every file of the folder whose name ends in .yaml. Its error is a *yaml.Faults.
func Parse(fsys fs.FS) (*Catalogue, error) {
	l := &loader{out: yaml.NewCollector(), first: map[string]string{}, c: &Catalogue{}}
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			l.out.Add(yaml.FileFault(name, err))
			continue
		}
		l.file(path.Base(name), data)
	}
	if err := l.out.Err(); err != nil {
		return nil, err
	}
	l.c.index()
	return l.c, nil
}

// loader puts files together.
type loader struct {
	d     *yaml.Decoder
	out   *yaml.Collector
	first map[string]string // where a name and its versions were met
	c     *Catalogue
}

func (l *loader) file(name string, data []byte) {
	l.d = yaml.NewDecoder(yaml.NewSource(name, data), l.out)
	n := yaml.Document(l.d.Src, l.out)
	if n == nil || !l.d.Versioned(n, version) {
		return
	}
	var f document
	l.d.Into(n, &f)
	for i := range f.Clients {
		l.client(fmt.Sprintf("clients[%d]", i), &f.Clients[i])
	}
	for i := range f.Stacks {
		l.stack(fmt.Sprintf("stacks[%d]", i), &f.Stacks[i])
	}
	l.c.Clients = append(l.c.Clients, f.Clients...)
	l.c.Stacks = append(l.c.Stacks, f.Stacks...)
}
