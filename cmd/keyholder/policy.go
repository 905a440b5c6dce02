package main

import (
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

func policyCommand(env *boot.Environment) *cobra.Command {
	set := asking(env, "set FILE", "Set the policy of re-identification: another operator approves it",
		`Set who may re-identify for what. FILE is policy.toml: docs/policy.md has all of it. It is
checked, and the whole of it is what the other operator approves.`,
		"  keyholder policy set policy.toml --as ann", nil, api.OpPolicySet, func(path string) (any, error) {
			document, err := readPolicy(path)
			if err != nil {
				return nil, err
			}
			if _, err := reidentify.ParsePolicy(document); err != nil {
				return nil, err
			}
			return api.PolicySet{Document: string(document)}, nil
		})
	return group("policy", "Who may re-identify for what", policyCheck(env), set, policyShow(env), policySimulate(env))
}

// readPolicy reads a policy's file, - for standard input.
func readPolicy(path string) ([]byte, error) {
	const doing = "reading the policy"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a policy.toml")
	}
	defer func() { _ = f.Close() }()
	document, err := io.ReadAll(io.LimitReader(f, reidentify.MaxPolicy+1))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	return document, nil
}

func policyCheck(env *boot.Environment) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "check FILE", Short: "Say all that is wrong or unwise in a policy", Args: oneArgument("file"), Example: "  keyholder policy check policy.toml",
		Long: `Read a policy.toml, and say all that contradicts itself (errors: it could not be set) and
all that somebody should look at (warnings). It calls nobody. Exit code 2 where there is
an error.`,
		RunE: func(_ *cobra.Command, arguments []string) error {
			document, err := readPolicy(arguments[0])
			if err != nil {
				return err
			}
			findings, err := reidentify.CheckPolicy(document)
			if err != nil {
				return err
			}
			if asJSON {
				if findings == nil {
					findings = []reidentify.Finding{}
				}
				if err := env.PrintJSON(findings); err != nil {
					return err
				}
			}
			errors := 0
			for _, f := range findings {
				if f.Severity == reidentify.SeverityError {
					errors++
				}
				if !asJSON {
					if _, err := fmt.Fprintf(env.Stdout, "%-7s  %s\n", f.Severity, f.Error()); err != nil {
						return err
					}
				}
			}
			if errors > 0 {
				return fault.New(fault.Usage, "checking the policy "+arguments[0], fmt.Sprintf("it contradicts itself in %d places", errors), "correct them")
			}
			if !asJSON {
				_, err = fmt.Fprintln(env.Stdout, "the policy can be set")
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func policyShow(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	asJSON := false
	c := &cobra.Command{
		Use: "show", Short: "Print the policy as it is set", Args: cobra.NoArgs, Example: "  keyholder policy show --as ann > policy.toml",
		RunE: func(c *cobra.Command, _ []string) error {
			return as.With(env, func(to *client.Client) error {
				p, err := to.Policy(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return env.PrintJSON(p)
				}
				fmt.Fprintf(env.Stderr, "set %s, SHA-256 %s\n", p.Set.Format("2006-01-02 15:04 UTC"), p.Digest)
				_, err = io.WriteString(env.Stdout, p.Document)
				return err
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func policySimulate(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	asJSON := false
	c := &cobra.Command{
		Use: "simulate FILE", Short: "Say which limits of a policy past requests would have been beyond", Args: oneArgument("file"),
		Long: `Hold the requests of the last 30 days to the limits of a policy.toml that is not set, and
say which would have fired, how often, and in which organisations. The requests stay with
the key holder; no patient is named.`,
		Example: "  keyholder policy simulate policy.toml --as ann",
		RunE: func(c *cobra.Command, arguments []string) error {
			document, err := readPolicy(arguments[0])
			if err != nil {
				return err
			}
			if _, err := reidentify.ParsePolicy(document); err != nil {
				return err
			}
			return as.With(env, func(to *client.Client) error {
				simulation, err := to.Simulate(c.Context(), api.PolicySet{Document: string(document)})
				if err != nil {
					return err
				}
				if asJSON {
					return env.PrintJSON(simulation)
				}
				s := new(reidentify.Simulation)
				if err := json.Unmarshal(simulation, s); err != nil {
					return fault.New(fault.Internal, "simulating a policy", "the answer cannot be read", "see that both are of versions that fit")
				}
				return s.WriteText(env.Stdout)
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
