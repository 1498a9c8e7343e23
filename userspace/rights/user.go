// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// ErrNoUser: the machine does not know the agent's user.
var ErrNoUser = errors.New("there is no such user")

// Nobody is the number of a user and group for what runs with these rights where the machine does not know the agent's
// user: a demo, a rehearsal. It owns nothing.
const Nobody = 64_017

// MakeUser is the command that makes the agent's user and group.
const MakeUser = "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin " + User

// Lookup finds a user by name, or takes UID:GID as it is: a container need not know its name.
func Lookup(name string) (uid, gid int, err error) {
	if u, g, ok := strings.Cut(name, ":"); ok {
		uid, err1 := strconv.ParseUint(u, 10, 31)
		gid, err2 := strconv.ParseUint(g, 10, 31)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, fmt.Errorf("%q is no UID:GID: %w", name, err)
		}
		return int(uid), int(gid), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("user %s: %w: make it with `%s`", name, ErrNoUser, MakeUser)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(err1, err2)
}
