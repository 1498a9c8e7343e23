// SPDX-License-Identifier: Apache-2.0

package config

// ListCounts is what became of the rows of a list until they were prefixes. Nothing is put right in silence.
type ListCounts struct {
	List string `json:"list"`
	// Rows of files and of the bundle, bad ones included.
	Rows int `json:"rows"`
	// Prefixes of the list, those included that this host leaves out.
	Prefixes int `json:"prefixes"`

	Bad        int `json:"bad,omitempty"`        // rows that are no address
	Masked     int `json:"masked,omitempty"`     // rows with bits beyond their length
	Unmapped   int `json:"unmapped,omitempty"`   // rows of IPv4 as IPv6 writes it
	Split      int `json:"split,omitempty"`      // ranges of several prefixes
	Reserved   int `json:"reserved,omitempty"`   // prefixes that no visitor has
	Duplicates int `json:"duplicates,omitempty"` // prefixes that stood there before
	Widened    int `json:"widened,omitempty"`    // prefixes by ipv6
	Merged     int `json:"merged,omitempty"`     // prefixes that merge saved
	Protected  int `json:"protected,omitempty"`  // prefixes that this host leaves out
}

// ListStep is one thing that was done to a list, and how often.
type ListStep struct {
	Count    int
	One, Any string // of one, and of several
}

// Steps returns what was done, in the order in which it was; nil where the list is as it was written.
func (c ListCounts) Steps() []ListStep {
	var out []ListStep
	for _, s := range []ListStep{
		{c.Bad, "bad row left out", "bad rows left out"},
		{c.Masked, "row masked to its length", "rows masked to their length"},
		{c.Unmapped, "row of IPv4 in IPv6", "rows of IPv4 in IPv6"},
		{c.Split, "range split", "ranges split"},
		{c.Reserved, "reserved one left out", "reserved ones left out"},
		{c.Duplicates, "duplicate merged", "duplicates merged"},
		{c.Widened, "IPv6 one widened", "IPv6 ones widened"},
		{c.Merged, "saved by merging", "saved by merging"},
		{c.Protected, "protected one left out here", "protected ones left out here"},
	} {
		if s.Count > 0 {
			out = append(out, s)
		}
	}
	return out
}
