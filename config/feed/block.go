// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// expectFrom is the number of rows from which a block expects half as many next time.
const expectFrom = 20

// simple and paths are what YAML takes for a text without quotes, whoever reads it.
var (
	simple = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,}$`)
	paths  = regexp.MustCompile(`^[a-z0-9]+(/[a-z0-9._-]+)+$`)
)

// Block is what to write into a bundle's features.prefixes for the file: YAML, by lines, without an indent. whole says
// that the finding is of all of the file.
func (f *Finding) Block(list, file string, whole bool) []string {
	out := []string{"- list: " + list, "  rule: listed", "  third_party: true", "  file: " + scalar(file)}
	if f.Format != "" && f.Format != Plain {
		out = append(out, "  format: "+string(f.Format))
	}
	if f.Format == CSV {
		column := strconv.Itoa(f.Column.Number)
		if f.Column.Name != "" {
			column = scalar(f.Column.Name)
		}
		out = append(out, "  column: "+column)
		if key := separatorText(f.Separator); key != "" {
			out = append(out, "  "+strings.TrimPrefix(key, ", "))
		}
	}
	if f.Fields != nil {
		names := make([]string, len(f.Fields))
		for i, name := range f.Fields {
			names[i] = scalar(name)
		}
		out = append(out, "  fields: ["+strings.Join(names, ", ")+"]")
	}
	if share := 100 * float64(f.Duplicates) / float64(max(1, f.Duplicates+f.IPv4+f.IPv6)); share > 1 {
		out = append(out, fmt.Sprintf("  max_duplicates: %d%%", min(100, 10*int(math.Ceil(share/10+0.5)))))
	}
	if bad := f.Rows - f.Good; bad > 0 && bad*1000 <= f.Rows {
		out = append(out, "  max_bad_rows: 0.1%")
	}
	if whole && f.Rows >= expectFrom {
		out = append(out, fmt.Sprintf("  expect: {min_rows: %d}", f.Rows/2))
	}
	return out
}

// scalar writes a text of a file so that YAML reads it as that text.
func scalar(text string) string {
	word := slices.Contains([]string{"true", "false", "null", "yes", "off"}, strings.ToLower(text))
	if simple.MatchString(text) && !word || paths.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}
