// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"io/fs"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/folder"
	"github.com/spillway/spillway/userspace/view"
)

// Places are where the agent listens and keeps its state, as the host file says.
type Places struct {
	Socket, State, Pins string
	// Path is the host file's.
	Path string
	// ReadSocket only shows; "" when there is none, or the host file cannot be read.
	ReadSocket string
	// Host is the host file; nil when it is missing or faulty. Problem then says why; it is nil for a missing one.
	Host    *config.Host
	Problem error
	// Agent is what became of asking the agent, and AgentPID the process that hangs; 0 when it is not known.
	Agent    view.Presence
	AgentPID int
}

// users are who the pins may belong to beside root: the agent's user, who owns the state folder.
func (p Places) users() []int {
	if owner, err := folder.Owner(p.State); err == nil {
		return []int{owner}
	}
	return nil
}

// bake is guards.bake of the host file, or the default when the file cannot be read.
func (p Places) bake() time.Duration {
	if p.Host != nil {
		return p.Host.Guards.Bake
	}
	return config.DefaultHost().Guards.Bake
}

// Locate reads the places from a host file. It never fails: whoever needs the bypass may have a broken host file, so
// from a faulty one the paths are taken as far as they can be read, and a missing one leaves the defaults.
func Locate(path string) Places {
	d := config.DefaultHost()
	p := Places{Path: path, Socket: d.Listen.Socket, State: d.Paths.State, Pins: d.Paths.Pins,
		ReadSocket: d.Listen.Read.Socket, Agent: view.Absent}
	data, err := config.ReadHost(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p
	}
	host, err := config.LoadHost(path)
	if err == nil {
		return Places{Path: path, Socket: host.Listen.Socket, State: host.Paths.State, Pins: host.Paths.Pins,
			ReadSocket: host.Listen.Read.Socket, Host: host, Agent: view.Absent}
	}
	p.Problem = err
	var loose struct {
		Listen struct {
			Socket string `yaml:"socket"`
		} `yaml:"listen"`
		Paths struct {
			State string `yaml:"state"`
			Pins  string `yaml:"pins"`
		} `yaml:"paths"`
	}
	if yaml.Unmarshal(data, &loose) != nil {
		return p
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&p.Socket, loose.Listen.Socket}, {&p.State, loose.Paths.State}, {&p.Pins, loose.Paths.Pins}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	return p
}
