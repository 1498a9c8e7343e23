// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/lab"
)

// The files that the demo writes, named as the screen shows them.
const (
	hostFile     = "spillway.yaml"
	bundleFile   = "bundle.yaml"
	ja4File      = "ja4.yaml"
	limitFile    = "limit.yaml"
	doubledFile  = "nov18-every-row-twice.yaml"
	tooBigFile   = "nov18-twice-the-size.yaml"
	mistakeFile  = "mistake.yaml"
	carelessFile = "careless.yaml"
	declaredFile = "botnet.yaml"
)

const (
	// capacity of the demo's host in IPv4 prefixes. Twice that is refused.
	capacity = 90_000
	// feedRows make an apply long enough to be killed in its middle.
	feedRows = 85_000
	// doubledRows is how many features the file of 18 November 2025 had before every row came twice.
	doubledRows = 60
)

//go:embed files/*.yaml files/visit.html
var templates embed.FS

var parsed = template.Must(template.ParseFS(templates, "files/*"))

// host is what the host file's template needs.
type host struct {
	Mode                config.Mode
	Interface           string
	Capacity            int
	Socket, State, Pins string
	Staged              bool
}

// bundle is what the bundle's template needs. Without Crawler4 nobody denies the crawler; without Known nobody knows
// the bots among the visitors; without List there is no feed.
type bundle struct {
	Crawler4, Crawler6 string
	Known              *known
	List               string
	Botnet             string // a prefix that the bundle blocks, and declares
	Limit              string // the rate of a policy that limits; Go's client then scores as much as that, and no more
}

func newBundle(list string, k *known) bundle {
	return bundle{Crawler4: lab.CrawlerPrefix4.String(), Crawler6: lab.CrawlerPrefix6.String(), Known: k, List: list}
}

// render writes the named template to a file.
func render(path, name string, data any) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := parsed.ExecuteTemplate(f, name, data); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// writeBundles writes every bundle of the demo into dir.
func writeBundles(dir string, k known) error {
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o700); err != nil {
		return err
	}
	lists := []struct {
		name        string
		rows, twice int
	}{
		{"lists/every-row-twice.netset", doubledRows, 2},
		{"lists/twice-the-size.netset", 2 * capacity, 1},
	}
	for _, l := range lists {
		if err := writeList(filepath.Join(dir, l.name), l.rows, l.twice); err != nil {
			return err
		}
	}
	wide, botnet := k, newBundle("", &k)
	wide.Chrome.A, wide.Chrome.C = "", ""
	botnet.Botnet = botnetPrefix.String()
	limited := newBundle("", &k)
	limited.Limit = limitRate
	bundles := map[string]bundle{
		carelessFile: newBundle("", &wide),
		declaredFile: botnet,
		bundleFile:   newBundle("", nil),
		ja4File:      newBundle("", &k),
		limitFile:    limited,
		doubledFile:  newBundle(lists[0].name, &k),
		tooBigFile:   newBundle(lists[1].name, &k),
		mistakeFile:  {Known: &k},
	}
	for name, b := range bundles {
		if err := render(filepath.Join(dir, name), bundleFile, b); err != nil {
			return err
		}
	}
	return nil
}

// writeFeed writes a large bundle and returns the name of its file and its digest. Each attempt is another bundle: one
// that is stable already would not be built again.
func (w *workspace) writeFeed(attempt int, k known) (string, config.Digest, error) {
	name := fmt.Sprintf("feed-%d", attempt)
	list := "lists/" + name + ".netset"
	if err := writeList(w.path(list), feedRows+attempt, 1); err != nil {
		return "", config.Digest{}, err
	}
	file := name + ".yaml"
	if err := render(w.path(file), bundleFile, newBundle(list, &k)); err != nil {
		return "", config.Digest{}, err
	}
	b, err := config.LoadBundle(w.path(file), nil, config.BundleOptions{})
	if err != nil {
		return "", config.Digest{}, fmt.Errorf("load own feed: %w", err)
	}
	return file, b.Digest, nil
}

// writeList writes rows different prefixes, each of them the given number of times.
func writeList(path string, rows, times int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for p := range prefixes(rows) {
		for range times {
			fmt.Fprintln(w, p)
		}
	}
	if err := w.Flush(); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// feedBlock is the part of the benchmark range (RFC 2544) in which nobody of the lab lives.
var feedBlock = []netip.Prefix{netip.MustParsePrefix("198.19.0.0/16"), netip.MustParsePrefix("198.18.128.0/17")}

// prefixes yields n different prefixes of feedBlock: all its addresses, then the pairs, and so on.
func prefixes(n int) func(yield func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		for bits := 32; ; bits-- {
			for _, block := range feedBlock {
				for a, step := block.Addr(), uint32(1)<<(32-bits); block.Contains(a); a = plus(a, step) {
					if n == 0 || !yield(netip.PrefixFrom(a, bits)) {
						return
					}
					n--
				}
			}
		}
	}
}

// plus returns the IPv4 address that lies step after a.
func plus(a netip.Addr, step uint32) netip.Addr {
	b := a.As4()
	sum := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	sum += step
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}
