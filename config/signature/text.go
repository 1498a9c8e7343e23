// SPDX-License-Identifier: Apache-2.0

package signature

// MarshalText returns the MuonFP string.
func (fp MuonFP) MarshalText() ([]byte, error) { return []byte(fp.String()), nil }

// UnmarshalText reads a MuonFP string.
func (fp *MuonFP) UnmarshalText(text []byte) (err error) {
	*fp, err = ParseMuonFP(string(text))
	return err
}

// MarshalText returns the match of a JA4 feature.
func (j JA4) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// UnmarshalText reads the match of a JA4 feature.
func (j *JA4) UnmarshalText(text []byte) (err error) {
	*j, err = ParseJA4(string(text))
	return err
}

// MarshalText returns the p0f signature.
func (s P0F) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a p0f signature.
func (s *P0F) UnmarshalText(text []byte) (err error) {
	*s, err = ParseP0F(string(text))
	return err
}
