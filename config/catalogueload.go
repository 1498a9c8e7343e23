// SPDX-License-Identifier: Apache-2.0

package config

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"reflect"
)

//go:embed catalogue/*.yaml
var catalogueFiles embed.FS

// catalogueFile is one file of the catalogue as it is written.
type catalogueFile struct {
	// Version of this format; 1.
	Version int `yaml:"version" jsonschema:"required,enum=1"`
	// Clients are TLS clients.
	Clients []KnownClient `yaml:"clients"`
	// Stacks are TCP stacks.
	Stacks []KnownStack `yaml:"stacks"`
}

// LoadCatalogue reads the catalogue that this program carries. It fails only when the program was built wrong.
func LoadCatalogue() (*Catalogue, error) {
	fsys, err := fs.Sub(catalogueFiles, "catalogue")
	if err != nil {
		return nil, err
	}
	return ParseCatalogue(fsys)
}

// ParseCatalogue reads every file of the folder whose name ends in .yaml. Its error is a *Faults.
func ParseCatalogue(fsys fs.FS) (*Catalogue, error) {
	l := &catalogueLoader{out: newCollector(), first: map[string]string{}, c: &Catalogue{}}
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			l.out.add(fileFault(name, err))
			continue
		}
		l.file(path.Base(name), data)
	}
	if err := l.out.err(); err != nil {
		return nil, err
	}
	l.c.index()
	return l.c, nil
}

// catalogueLoader puts files together.
type catalogueLoader struct {
	d     *decoder
	out   *collector
	first map[string]string // where a name and its versions were met
	c     *Catalogue
}

func (l *catalogueLoader) file(name string, data []byte) {
	l.d = newDecoder(newSource(name, data), l.out)
	n := document(l.d.src, l.out)
	if n == nil || !l.d.versioned(n) {
		return
	}
	var f catalogueFile
	l.d.value(n, reflect.ValueOf(&f).Elem(), "", &limits{})
	for i := range f.Clients {
		l.client(fmt.Sprintf("clients[%d]", i), &f.Clients[i])
	}
	for i := range f.Stacks {
		l.stack(fmt.Sprintf("stacks[%d]", i), &f.Stacks[i])
	}
	l.c.Clients = append(l.c.Clients, f.Clients...)
	l.c.Stacks = append(l.c.Stacks, f.Stacks...)
}
