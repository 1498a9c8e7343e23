// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"time"

	"github.com/spf13/cobra"
)

// completionPatience is how long a shell waits for live objects. A slow agent completes nothing.
const completionPatience = 500 * time.Millisecond

type completer = func(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// first completes the first argument only.
func first(list func() []string) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(), cobra.ShellCompDirectiveNoFileComp
	}
}

// values completes the value of a flag.
func values(list func() []string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return list(), cobra.ShellCompDirectiveNoFileComp
	}
}

// files lets the shell complete file names with these endings, for the first argument.
func files(endings ...string) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}

// serviceNames asks the agent, then the pinned maps, then the host file.
func (a *app) serviceNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	var names []string
	if st, err := a.client().Status(ctx); err == nil {
		for _, s := range st.Services {
			names = append(names, s.Name)
		}
		return names
	}
	if s, err := a.env.pins(a.places(), a.now); err == nil {
		defer s.Close()
		if st, err := s.Status(); err == nil && len(st.Services) > 0 {
			for _, v := range st.Services {
				names = append(names, v.Name)
			}
			return names
		}
	}
	if host := a.places().Host; host != nil {
		for _, v := range host.Services {
			names = append(names, v.Name)
		}
	}
	return names
}

func (a *app) banned() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
	defer cancel()
	var prefixes []string
	if list, err := a.client().Bans(ctx); err == nil {
		for _, b := range list.Bans {
			prefixes = append(prefixes, b.Prefix)
		}
	}
	return prefixes
}

func interfaceNames() []string {
	all, _ := net.Interfaces()
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return names
}

func (a *app) newCompletion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Write the completion script of a shell",
		Long: `Write the completion script of a shell to stdout. It completes commands, flags,
and live objects: services, bans, interfaces.

  bash   spillway completion bash > /etc/bash_completion.d/spillway
  zsh    spillway completion zsh > "${fpath[1]}/_spillway"
  fish   spillway completion fish > ~/.config/fish/completions/spillway.fish`,
		Args: oneArg("shell: bash, zsh or fish"), ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return c.Root().GenZshCompletion(a.stdout)
			case "fish":
				return c.Root().GenFishCompletion(a.stdout, true)
			}
			return usage("unknown shell %q; valid: bash, zsh, fish", args[0])
		},
	}
}
