// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"bytes"
	"strings"
)

// limited keeps what is written up to a limit; beyond it, it calls full once and forgets the rest. The buffer is not
// embedded: it would be read into without a limit.
type limited struct {
	kept bytes.Buffer
	most int64
	over bool
	full func()
}

func (l *limited) Write(b []byte) (int, error) {
	if !l.over && int64(l.kept.Len()+len(b)) > l.most {
		l.over = true
		l.full()
	}
	if l.over {
		return len(b), nil
	}
	return l.kept.Write(b)
}

// head keeps the beginning of what is written: Go's runtime says there why it ends.
type head struct {
	kept bytes.Buffer
	most int
}

func (h *head) Write(b []byte) (int, error) {
	_, _ = h.kept.Write(b[:min(len(b), h.most-h.kept.Len())])
	return len(b), nil
}

// String is one line.
func (h *head) String() string { return strings.Join(strings.Fields(h.kept.String()), " ") }
