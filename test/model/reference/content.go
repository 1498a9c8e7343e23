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
		h.Protocol, err = firstProtocol(list)
		return err
	}
	return nil
}

// greaseProtocols is how many GREASE identifiers are looked past: there are no more of them (RFC 8701 section 2).
const greaseProtocols = 16

// firstProtocol reads the first name that is not GREASE: "ignore GREASE values anywhere" (JA4.md, Details). nil when
// there is none.
func firstProtocol(list cursor) ([]byte, error) {
	for passed := 0; !list.empty(); passed++ {
		name, err := list.vector(1, InProtocols)
		if err != nil {
			return nil, err
		}
		protocol, err := name.rest(InProtocols)
		if err != nil || passed == greaseProtocols || !isGREASEProtocol(protocol) {
			return protocol, err
		}
	}
	return nil, nil
}

func isGREASEProtocol(p []byte) bool { return len(p) == 2 && IsGREASE(uint16(p[0])<<8|uint16(p[1])) }
