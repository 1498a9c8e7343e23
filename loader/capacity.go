// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/spillway/spillway/config"
)

// TooSmall says what of a resident generation, and of the bans in force, a capacity has no room for. Maps in use keep
// their size, so a capacity that was lowered shows only after the next reboot, when nothing of this can be built again.
func TooSmall(c config.Capacity, needed config.Counts, bans int) []string {
	var out []string
	small := func(field string, rows int) {
		if room := c.Room(field); room > 0 && rows > room {
			out = append(out, fmt.Sprintf("capacity.%s is %d, and %d are needed", field, room, rows))
		}
	}
	for _, room := range config.Rooms() {
		small(room.Field, needed[room.Field])
	}
	small("bans", bans)
	return out
}

// Capacity returns the room that the maps in use have.
func (sl *Slots) Capacity() config.Capacity { return sl.capacity }
