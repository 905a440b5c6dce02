package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/keys/fault"
	"tarn/keys/strict"
)

// execute runs a command tree and returns the command whose own work began,
// nil where none did. Whatever fails before that is wrong usage; the message
// repeats no argument, because people paste identifiers into terminals.
func execute(ctx context.Context, env *Environment, root *cobra.Command, args []string) (ran *cobra.Command, err error) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = versionText()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(flagError)
	addLogFlags(root.PersistentFlags(), env.logOptions)
	prepare(root, func(c *cobra.Command) {
		ran = c
		env.SayHardened()
	})
	err = root.ExecuteContext(ctx)
	if err == nil || ran != nil {
		return ran, err
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return nil, err
	}
	return nil, usage(root, withoutArguments(err.Error(), args))
}

func usage(c *cobra.Command, wrong string) error {
	return fault.New(fault.Usage, c.CommandPath(), wrong, "see: "+c.CommandPath()+" --help")
}

// prepare makes a command tree say whose work begins, and a command that only
// groups others refuse what it does not know.
func prepare(c *cobra.Command, begins func(*cobra.Command)) {
	for _, child := range c.Commands() {
		prepare(child, begins)
	}
	switch run, runE := c.Run, c.RunE; {
	case runE != nil:
		c.RunE = func(c *cobra.Command, args []string) error {
			begins(c)
			return runE(c, args)
		}
	case run != nil:
		c.Run = func(c *cobra.Command, args []string) {
			begins(c)
			run(c, args)
		}
	case c.HasSubCommands():
		c.Args = cobra.ArbitraryArgs
		c.RunE = refuseUnknown
	}
}

// refuseUnknown is the work of a command that only groups others: to refuse,
// with what was probably meant.
func refuseUnknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		c.SetOut(c.ErrOrStderr())
		_ = c.Help() // the message below is the answer; the help is an extra
		return usage(c, "a command is needed")
	}
	c.SuggestionsMinimumDistance = max(c.SuggestionsMinimumDistance, 2)
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(c, "there is no such command; did you mean "+strings.Join(near, " or ")+"?")
	}
	return usage(c, "there is no such command")
}

// flagError says which flag is wrong and, for an unknown one, which is
// nearest; never the value.
func flagError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		flag := invalid.GetFlag()
		var reason *fault.Error
		if errors.As(err, &reason) {
			return usage(c, fmt.Sprintf("--%s: %s", flag.Name, reason.Error()))
		}
		return usage(c, fmt.Sprintf("the value of --%s is not a valid %s", flag.Name, flag.Value.Type()))
	}
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		return usage(c, fmt.Sprintf("--%s needs a value", missing.GetFlag().Name))
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		wrong := "there is no such flag"
		if near := strict.Nearest(unknown.GetSpecifiedName(), flagNames(c)); near != "" {
			wrong += "; did you mean --" + near + "?"
		}
		return usage(c, wrong)
	}
	return usage(c, "the flags are not well formed")
}

func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// withoutArguments replaces every quoted argument in a message of cobra's.
func withoutArguments(text string, args []string) string {
	for _, argument := range args {
		text = strings.ReplaceAll(text, fmt.Sprintf("%q", argument), "(an argument)")
	}
	return text
}
