// Package connection is how a command says who calls which key holder, and how
// its user enrols.
package connection

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/keys/client"
	"tarn/keys/fault"
)

// Flags say who calls which key holder.
type Flags struct{ files client.Files }

// Add adds the flags.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.files.Folder, "as", "", "the folder of credentials that enrol wrote")
	flags.StringVar(&f.files.URL, "keyholder", "", "the key holder's address, https://host:port (else the folder's)")
	flags.StringVar(&f.files.CA, "ca", "", "the key holder's authority, PEM (else the folder's)")
	flags.StringVar(&f.files.Cert, "cert", "", "the certificate, PEM (else the folder's)")
	flags.StringVar(&f.files.Key, "key", "", "its key, PEM (else the folder's); seal.key lies beside it")
}

// Given reports whether any of the flags was.
func (f *Flags) Given() bool { return f.files != client.Files{} }

// With calls call with a client of the credentials that the flags name, and says
// when they end soon.
func (f *Flags) With(env *boot.Environment, call func(*client.Client) error) error {
	if f.files.Folder == "" && (f.files.URL == "" || f.files.CA == "" || f.files.Cert == "" || f.files.Key == "") {
		return fault.New(fault.Usage, "calling the key holder", "it is not said as whom", "give --as with the folder that enrol wrote, or all of --keyholder, --ca, --cert and --key")
	}
	credentials, err := client.Load(f.files)
	if err != nil {
		return err
	}
	if credentials.EndsSoon(env.Wall()) {
		fmt.Fprintf(env.Stderr, "the certificate ends on %s: ask the key holder's operators for a new code (keyholder client renew) and enrol again\n", credentials.End().Format(time.DateOnly))
	}
	c := client.New(credentials, env.Wall)
	defer c.Close()
	return call(c)
}

// EnrolCommand makes the command with which a program's user enrols.
func EnrolCommand(env *boot.Environment, program string) *cobra.Command {
	var e client.Enrolment
	codeFile := ""
	c := &cobra.Command{
		Use: "enrol --keyholder URL --out DIR", Short: "Get a certificate for a one-time code of the key holder",
		Long: `Enrol with a one-time code, which is read from --code-file, from standard input, or
asked for. Keys are made here and stay here; the code also proves that it is the right
key holder that answers. The folder that is written is what --as names.

Where the key holder takes certificates of an authority of your own ([listen] client_ca),
--cert and --key name one and its key: no other is made, and the folder gets copies.`,
		Example: "  " + program + " enrol --keyholder https://keyholder.example.nhs.uk:8443 --code-file my.code --out credentials", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if e.URL == "" || e.Folder == "" {
				return fault.New(fault.Usage, "enrolling with the key holder", "--keyholder or --out is missing", "see: "+program+" enrol --help")
			}
			var err error
			if e.Code, err = env.SecretText(codeFile, "one-time code: "); err != nil {
				return err
			}
			enrolled, err := client.Enrol(c.Context(), e, env.Wall)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "enrolled as %s, %s; credentials in %s\n", enrolled.Name, enrolled.Role, e.Folder)
			return err
		},
	}
	c.Flags().StringVar(&e.URL, "keyholder", "", "the key holder's address, https://host:port")
	c.Flags().StringVar(&codeFile, "code-file", "", "a file that holds the code; - for standard input (asked for if not given)")
	c.Flags().StringVar(&e.Cert, "cert", "", "a certificate of an authority that the key holder was given, PEM, with what is between them")
	c.Flags().StringVar(&e.Key, "key", "", "its key, PEM, readable by its owner only")
	c.Flags().StringVar(&e.Folder, "out", "", "the folder of credentials to make")
	return c
}
