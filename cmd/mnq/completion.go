package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// completionScripts let a shell ask mnq itself, so that they are right for every
// version.
var completionScripts = map[string]string{
	"bash": `# bash: eval "$(mnq completion bash)"
_mnq() {
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$(mnq __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mnq mnq
`,
	"zsh": `# zsh: source <(mnq completion zsh)
_mnq() {
	local -a words_
	words_=(${(f)"$(mnq __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( ${#words_} )); then compadd -- $words_; else _files; fi
}
compdef _mnq mnq
`,
	"fish": `# fish: mnq completion fish | source
complete -c mnq -f -a '(set -l t (commandline -opc) (commandline -ct); mnq __complete $t[2..-1] 2>/dev/null)'
`,
}

// Run prints the script.
func (c *completionCmd) Run(a *app) error {
	return printf(a.stdout, "%s", completionScripts[c.Shell])
}

type completeCmd struct {
	Words []string `arg:"" optional:""`
}

// Run prints what can stand at the place of the last word, one to a line.
func (c *completeCmd) Run(a *app) error {
	for _, word := range complete(a.model.Node, c.Words) {
		if err := printf(a.stdout, "%s\n", word); err != nil {
			return err
		}
	}
	return nil
}

// complete returns the commands and flags that begin like the last word, after the
// words before it.
func complete(at *kong.Node, words []string) []string {
	last := ""
	if n := len(words); n > 0 {
		last, words = words[n-1], words[:n-1]
	}
	for _, word := range words {
		for _, child := range at.Children {
			if child.Type == kong.CommandNode && child.Name == word && !child.Hidden {
				at = child
				break
			}
		}
	}
	var out []string
	if strings.HasPrefix(last, "-") {
		for _, group := range at.AllFlags(true) {
			for _, f := range group {
				out = append(out, "--"+f.Name)
			}
		}
	} else {
		for _, child := range at.Children {
			if child.Type == kong.CommandNode && !child.Hidden {
				out = append(out, child.Name)
			}
		}
	}
	out = slices.DeleteFunc(out, func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(out)
	return slices.Compact(out)
}
