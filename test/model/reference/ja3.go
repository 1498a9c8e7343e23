// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// JA3 returns the string and its MD5: version of the ClientHello, cipher suites, extensions, groups and point formats,
// decimal, in the order sent, without GREASE. Groups and point formats are those of the first extension of their kind.
// The error is an *Error, when one of these two lists does not fill its extension.
func (h *Hello) JA3() (text, hash string, err error) {
	var extensions []uint16
	for _, e := range h.Extensions {
		extensions = append(extensions, e.Type)
	}
	groups, err := h.numbersOf(ExtSupportedGroups, 2, 2, InGroups)
	if err != nil {
		return "", "", err
	}
	formats, err := h.numbersOf(ExtPointFormats, 1, 1, InPointFormats)
	if err != nil {
		return "", "", err
	}
	text = fmt.Sprintf("%d,%s,%s,%s,%s", h.Version, decimal(withoutGREASE(h.Ciphers)),
		decimal(withoutGREASE(extensions)), decimal(withoutGREASE(groups)), decimal(formats))
	sum := md5.Sum([]byte(text))
	return text, hex.EncodeToString(sum[:]), nil
}

// numbersOf reads the list that is all of an extension: a length of prefix bytes, then numbers of width bytes.
func (h *Hello) numbersOf(kind uint16, prefix, width int, where Where) ([]uint16, error) {
	i := slices.IndexFunc(h.Extensions, func(e Extension) bool { return e.Type == kind })
	if i < 0 || len(h.Extensions[i].Data) == 0 {
		return nil, nil
	}
	data := h.Extensions[i].Data
	c := cursor{came: data, end: len(data)}
	list, err := c.whole(prefix, where)
	if err != nil {
		return nil, err
	}
	return list.numbers(width, where)
}

func decimal(values []uint16) string {
	var all []string
	for _, v := range values {
		all = append(all, strconv.Itoa(int(v)))
	}
	return strings.Join(all, "-")
}
