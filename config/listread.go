// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/spillway/spillway/config/feed"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// file reads the list file of a block.
func (p *prefixLoader) file(i int, at string) {
	b := &p.blocks[i]
	if p.l.fsys == nil || !fs.ValidPath(b.File) || b.File == "." || strings.Contains(b.File, `\`) {
		p.l.d.FaultAt(yaml.CodeFile, at, fmt.Sprintf("%q", b.File), at+" leads outside of the bundle's folder",
			"a path below the folder of the bundle, without . or .. (lists/name.netset)")
		return
	}
	shown := path.Join(path.Dir(p.l.d.Src.Name), b.File)
	p.shown[shown] = b.File
	f := &listFile{p: p, b: b, index: int32(i), c: p.counts[i], shown: shown, at: at, bad: yaml.NewCollector(),
		faults: yaml.NewCollector()}
	sum, err := f.read()
	var misfit *feed.Misfit
	if errors.As(err, &misfit) { // what its rows are is no matter then
		p.l.d.Out.Add(yaml.Fault{Code: yaml.CodeFormat, File: shown, Line: misfit.At.Line, Column: misfit.At.Column, Path: at,
			Problem: misfit.Problem, Valid: misfit.Valid})
		return
	}
	if err != nil {
		p.fileFault(at, b.File, err)
	} else {
		f.whole(sum)
	}
	f.judge(sum.Rows)
	p.l.d.Out.Join(f.faults)
}

// listFile is the file of a block while it is read.
type listFile struct {
	p         *prefixLoader
	b         *prefixesFile
	index     int32 // of the block
	c         *ListCounts
	shown, at string
	// bad rows may be left out where they are few, faults refuse the bundle.
	bad, faults *yaml.Collector
	lastBad     bool
	hard        bool // one that no number of good rows excuses
	kept        int  // prefixes of it
}

func (f *listFile) read() (feed.Summary, error) {
	p := f.p
	file, err := p.l.openList(f.b.File)
	if err != nil {
		return feed.Summary{}, err
	}
	defer file.Close()
	if p.lines < 1 {
		return feed.Summary{}, feed.ErrTooManyLines
	}
	o := f.b.options()
	o.MaxLines, o.CountFrom = p.lines, f.b.Expect.CountFrom
	sum, err := feed.Read(file, o, f.row)
	p.lines -= sum.Lines
	f.c.Rows += sum.Rows
	return sum, err
}

// row takes one row of the file.
func (f *listFile) row(r *feed.Row) error {
	if f.lastBad = r.Problem != ""; f.lastBad {
		why := notAddress(r.Problem)
		if len(r.Text) == 0 { // it is no text at all
			why = &yaml.Refusal{Code: yaml.CodeSyntax, Problem: r.Problem, Valid: "UTF-8 text"}
		}
		f.hard = f.hard || r.Hard
		f.fault(f.bad, why, r)
		return nil
	}
	f.c.Masked, f.c.Unmapped, f.c.Split = f.c.Masked+one(r.Masked), f.c.Unmapped+one(r.Unmapped), f.c.Split+one(r.Split)
	at := row{line: int32(r.At.Line), column: int32(r.At.Column), block: f.index, inFile: true}
	before := f.c.Reserved
	for _, prefix := range r.Prefixes {
		at.prefix = prefix
		if refusal := f.p.add(at, f.b); refusal != nil {
			f.fault(f.faults, refusal, r)
		} else if r.Masked && !f.b.ThirdParty {
			f.p.l.warnMasked(f.shown, at, string(r.Text))
		}
	}
	f.kept += len(r.Prefixes) - (f.c.Reserved - before)
	return nil
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (f *listFile) fault(to *yaml.Collector, why *yaml.Refusal, r *feed.Row) {
	if !to.Room(why.Code) {
		to.Add(yaml.Fault{Code: why.Code})
		return
	}
	to.Add(yaml.Fault{Code: why.Code, File: f.shown, Line: r.At.Line, Column: r.At.Column, Path: f.at,
		Value: words.Shorten(string(r.Text)), Problem: why.Problem, Valid: why.Valid})
}

// boundedFile is a file that may grow while it is read, and not without an end.
type boundedFile struct {
	fs.File
	left int
}

func (f *boundedFile) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, fmt.Errorf("%w: it grows while it is read", yaml.ErrTooLong)
	}
	n, err := f.File.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

func (l *bundleLoader) openList(name string) (io.ReadCloser, error) {
	f, err := yaml.OpenFile(l.fsys, name, yaml.MaxListBytes)
	if err != nil {
		return nil, err
	}
	return &boundedFile{f, yaml.MaxListBytes + 1}, nil
}

// eachLine reads a list file a second time, by its lines.
func (l *bundleLoader) eachLine(name string, each func(line []byte, n int) error) error {
	f, err := l.openList(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return feed.Lines(f, each)
}

// fileFault names the line of the bundle that names the file.
func (p *prefixLoader) fileFault(at, name string, err error) {
	f := yaml.FileFault("", err)
	valid := "a readable file below the folder of the bundle"
	if strings.Contains(err.Error(), "escapes") { // os.Root's error has no name
		f.Problem = "leads outside of the bundle's folder"
	} else if errors.Is(err, feed.ErrTooManyLines) {
		valid = fmt.Sprintf(
			"%d lines over all list files, comments and blank ones included: twice capacity.prefixes_v4 and prefixes_v6, and %d",
			maxLines(p.l.host.Capacity), spareLines)
	} else if errors.Is(err, yaml.ErrTooLong) {
		valid = fmt.Sprintf("at most %d MiB", yaml.MaxListBytes>>20)
	}
	p.l.d.Bad[at] = true
	fault := p.l.d.Src.Fault(yaml.CodeFile, p.l.d.Where(at), at, fmt.Sprintf("%q", name),
		fmt.Sprintf("the list file %s: %s", words.Shorten(name), f.Problem), valid)
	fault.Cause = err
	p.l.d.Out.Add(fault)
}
