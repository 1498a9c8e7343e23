// SPDX-License-Identifier: Apache-2.0

package reference

// readContent reads what JA4 needs from the inside of an extension.
func (h *Hello) readContent(kind uint16, c cursor) error {
	if c.empty() {
		h.sawAlgorithms = h.sawAlgorithms || kind == ExtSignatureAlgorithms
		return nil
	}
	switch {
	case kind == ExtSignatureAlgorithms && !h.sawAlgorithms:
		h.sawAlgorithms = true
		list, err := c.whole(2, InAlgorithms)
		if err != nil {
			return err
		}
		h.Algorithms, err = list.numbers(2, InAlgorithms)
		return err
	case kind == ExtSupportedVersions:
		list, err := c.whole(1, InVersions)
		if err != nil {
			return err
		}
		versions, err := list.numbers(2, InVersions)
		h.Versions = append(h.Versions, versions...)
		return err
	case kind == ExtALPN && h.Protocol == nil:
		list, err := c.whole(2, InProtocols)
		if err != nil || list.empty() {
			return err
		}
		first, err := list.vector(1, InProtocols)
		if err != nil {
			return err
		}
		h.Protocol, err = first.rest(InProtocols)
		return err
	}
	return nil
}
