// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Each block of docs/FEEDS.md reads a file of the shape that its publisher has.
func TestBlocksOfTheFeedsPageRead(t *testing.T) {
	page, err := os.ReadFile("../docs/FEEDS.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]struct{ file, want string }{
		"drop":      {"drop.jsonl", "3 rows, 3 prefixes"},
		"drop-text": {"drop.txt", "3 rows, 3 prefixes"},
		"firehol":   {"level.netset", "4 rows, 4 prefixes"},
		"dshield":   {"block.txt", "3 rows, 3 prefixes"},
		"feodo":     {"tracker.csv", "3 rows, 3 prefixes"},
		"tor":       {"exits.txt", "4 rows, 4 prefixes"},
		"aws":       {"aws.json", "4 rows, 3 prefixes, 1 duplicates merged"},
		"azure":     {"azure.json", "5 rows, 4 prefixes, 1 duplicates merged"},
		"github":    {"github.json", "3 rows, 3 prefixes, 1 rows masked to their length"},
		"googlebot": {"crawler.json", "4 rows, 4 prefixes"},
		"bingbot":   {"crawler.json", "4 rows, 4 prefixes"},
	}
	file, least := regexp.MustCompile(`file: (\S+)`), regexp.MustCompile(`min_rows: \d+`)
	list := regexp.MustCompile(`^- list: (\S+)\n`)
	const head = "version: 1\nname: t\nrules:\n  - {id: listed, label: l, score: 60}\n  - {id: datacentre, label: d, score: 20}\n" +
		"  - {id: crawler, label: c, score: 0}\nfeatures:\n  prefixes:\n"
	for _, m := range yamlBlock.FindAllStringSubmatch(string(page), -1) {
		block := m[1]
		if strings.HasPrefix(block, "version: 1\n") {
			fsys := files("lists/drop4.json", string(feedSample(t, "drop.jsonl")))
			if b, err := ParseBundle("FEEDS.md", []byte(block), fsys, testHost(), testOptions); err != nil ||
				len(b.Prefixes) != 1 {
				t.Errorf("the bundle of the page: %v", err)
			}
			continue
		}
		name := list.FindStringSubmatch(block)
		if name == nil || samples[name[1]].file == "" {
			t.Errorf("no sample for the block\n%s", block)
			continue
		}
		sample := samples[name[1]]
		delete(samples, name[1])
		// A sample is short, and stands for what has as many rows as the block expects.
		text := head + "    " + strings.ReplaceAll(strings.TrimSpace(least.ReplaceAllString(block, "min_rows: 3")), "\n",
			"\n    ") + "\n"
		fsys := files(file.FindStringSubmatch(block)[1], string(feedSample(t, sample.file)))
		b, err := ParseBundle("FEEDS.md", []byte(text), fsys, DefaultHost(), BundleOptions{})
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if got := stepsOf(b); got != sample.want {
			t.Errorf("%s: %s, want %s", name[1], got, sample.want)
		}
		cut := feedSample(t, sample.file)
		cut = cut[:len(cut)*2/3]
		fsys = files(file.FindStringSubmatch(block)[1], string(cut))
		whole := least.ReplaceAllString(text, fmt.Sprintf("min_rows: %d", b.Lists[0].Rows))
		if _, err := ParseBundle("FEEDS.md", []byte(whole), fsys, DefaultHost(), BundleOptions{}); err == nil {
			t.Errorf("%s: a file that was cut off is taken", name[1])
		}
	}
	for name := range samples {
		t.Errorf("the page has no block of %s", name)
	}
}
