package main

import (
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/model"
)

func modelCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "model",
		Short: "Look at fitted models and compare them",
		Long: `Look at the model.json of a result, or compare two. A model holds nothing of any
record: it can be exchanged, and used again with linker link --model.`,
		Example: `  linker model show run1/model.json
  linker model compare run1/model.json run2/model.json`,
	}
	c.AddCommand(modelShowCommand(env), modelCompareCommand(env))
	return c
}

// files refuses any number of arguments but that of the models.
func files(command string, n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fault.New(fault.Usage, command, "the number of models is wrong", "see: "+command+" --help")
		}
		return nil
	}
}

func modelShowCommand(env *boot.Environment) *cobra.Command {
	return &cobra.Command{
		Use:     "show FILE",
		Short:   "Print a fitted model",
		Long:    "Print the probabilities and weights of a model by field and level, and how it was fitted.",
		Example: "  linker model show run1/model.json",
		Args:    files("linker model show", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := model.ReadDocument(args[0])
			if err != nil {
				return err
			}
			return model.WriteText(env.Stdout, d)
		},
	}
}

func modelCompareCommand(env *boot.Environment) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two fitted models",
		Long: `Print what two models of the same fields and levels say of each level of agreement,
and where their weights differ most.`,
		Example: "  linker model compare run1/model.json run2/model.json",
		Args:    files("linker model compare", 2),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := model.ReadDocument(args[0])
			if err != nil {
				return err
			}
			b, err := model.ReadDocument(args[1])
			if err != nil {
				return err
			}
			d, err := model.Compare(a, b)
			if err != nil {
				return err
			}
			if !asJSON {
				return model.WriteDifference(env.Stdout, a, d)
			}
			return env.PrintJSON(d)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the comparison as JSON")
	return c
}
