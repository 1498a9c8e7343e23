// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// BundleFile is the name of the bundle in a folder.
const BundleFile = "bundle.yaml"

// BundleOptions are facts about this host and moment. The zero value knows no own address and takes the time of now.
type BundleOptions struct {
	// Own holds the addresses of this host: no bundle may block them.
	Own []netip.Addr
	// Now decides which rules have expired.
	Now time.Time
}

// LoadBundle reads a bundle: path is its YAML file, or a folder with a bundle.yaml. List files are read from that
// folder and below, never from outside of it, not even by a symbolic link. A nil host stands for the defaults, and for
// services that nobody knows. Its error is a *yaml.Faults.
func LoadBundle(path string, host *Host, opts BundleOptions) (*Bundle, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, BundleFile)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		out := yaml.NewCollector()
		out.Add(yaml.FileFault(path, err))
		return nil, out.Err()
	}
	defer root.Close()
	// The bundle itself may be a link to anywhere: who names it on the command line means it.
	data, err := yaml.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path), path)
	if err != nil {
		return nil, err
	}
	return ParseBundle(path, data, root.FS(), host, opts)
}

// ParseBundle reads a bundle from memory and its list files from fsys; name is for the faults. A nil fsys holds no
// files. Its error is a *yaml.Faults.
func ParseBundle(name string, data []byte, fsys fs.FS, host *Host, opts BundleOptions) (*Bundle, error) {
	l := &bundleLoader{fsys: fsys, host: host, opts: opts, b: &Bundle{Version: Version}, warn: yaml.NewCollector(),
		rules: map[string]int{}, used: map[string]bool{}}
	if host == nil {
		l.host = DefaultHost()
	} else {
		l.services = host.Services
	}
	if opts.Now.IsZero() {
		l.opts.Now = time.Now()
	}
	l.d = newReader(name, data, yaml.NewCollector())
	n := yaml.Document(l.d.Src, l.d.Out)
	if n == nil {
		return nil, l.d.Out.Err()
	}
	if l.d.Versioned(n, Version) {
		l.d.Into(n, &l.file)
		l.build()
	}
	if err := l.d.Out.Err(); err != nil {
		return nil, err
	}
	l.b.Warnings = l.warn.Warnings()
	l.b.Digest = digestOf(l.b)
	return l.b, nil
}

// bundleLoader turns a bundleFile into a Bundle.
type bundleLoader struct {
	d        *reader
	warn     *yaml.Collector
	fsys     fs.FS
	host     *Host
	services []Service
	opts     BundleOptions
	file     bundleFile
	b        *Bundle
	rules    map[string]int // id → index in file.Rules
	used     map[string]bool
}

func (l *bundleLoader) build() {
	l.b.Name = l.file.Name
	l.buildRules()
	newPrefixLoader(l).load()
	for _, k := range kinds {
		k.load(l)
	}
	l.buildPolicy()
	l.buildIntent()
	l.warnUnused()
	l.normalise()
}

// normalise sorts everything whose order means nothing.
func (l *bundleLoader) normalise() {
	b := l.b
	slices.SortFunc(b.Rules, func(x, y Rule) int { return strings.Compare(x.ID, y.ID) })
	slices.SortFunc(b.Prefixes, func(x, y PrefixList) int {
		return cmp.Or(strings.Compare(x.List, y.List), strings.Compare(x.Rule, y.Rule))
	})
	for _, k := range kinds {
		k.sort(b)
	}
	slices.SortFunc(b.Lists, func(x, y ListCounts) int { return strings.Compare(x.List, y.List) })
	slices.SortFunc(b.Carved, comparePrefix)
	b.Carved = slices.Compact(b.Carved)
}

// reference notes that a rule is used, or adds a fault when nothing has that id.
func (l *bundleLoader) reference(path, id string) {
	if id == "" || l.d.Bad[path] {
		return
	}
	if _, ok := l.rules[id]; ok {
		l.used[id] = true
		return
	}
	ids := make([]string, 0, len(l.rules))
	for known := range l.rules {
		ids = append(ids, known)
	}
	l.d.unknownName(path, id, "no rule has the id", "a rule's id", ids)
}

// unknownName adds a reference fault with the nearest name, or a few of those there are.
func (d *reader) unknownName(path, name, problem, what string, known []string) {
	slices.Sort(known)
	text := fmt.Sprintf("%s %s", problem, words.Shorten(name))
	if near := words.Nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	valid := what
	switch n := len(known); {
	case n == 0:
		valid += " (there is none yet)"
	case n <= 8:
		valid += ": " + words.List(known, "or")
	default:
		valid += fmt.Sprintf(" (there are %d)", n)
	}
	d.FaultAt(yaml.CodeReference, path, fmt.Sprintf("%q", words.Shorten(name)), text, valid)
}
