package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tarn/bench/clinic"
	"tarn/bench/idp"
	"tarn/bench/process"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

func demoUpCommand(env *boot.Environment) *cobra.Command {
	var o clinic.Options
	empty := false
	c := &cobra.Command{
		Use:   "up",
		Short: "Keep a key holder running with its pages, until it is stopped",
		Long: `Start a key holder with its pages, a provider at which made-up people sign in without
a password, and a region with patients of two practices, all on loopback; let people have
asked, approved and reviewed for a while; then print the address of the pages, who there
is, and some tokens to try, and keep running until it is stopped (Ctrl-C).

Everybody is made up, and whoever reaches the address may be anybody: it is for trying the
pages out. What it keeps lies in a folder that is taken away at the end.`,
		Example: "  tarn demo up\n  tarn demo up --address 127.0.0.1:9443",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Binary, err = process.Find("keyholder"); err != nil {
				return err
			}
			if o.Folder, err = os.MkdirTemp("", "tarn-demo-up-"); err != nil {
				return fault.Wrap(fault.Internal, "making a folder", err, "free space on the disk, or set TMPDIR")
			}
			defer func() { err = errors.Join(err, os.RemoveAll(o.Folder)) }()
			o.Software, o.Clock = boot.Software(), env.Wall
			fmt.Fprintln(env.Stdout, "starting: a key holder, a provider of sign-ins, a region with patients")
			site, err := clinic.Open(c.Context(), o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, site.Close()) }()
			if !empty {
				fmt.Fprintln(env.Stdout, "people ask, approve and review for a while")
				if _, err := site.Populate(c.Context(), 9); err != nil {
					return err
				}
			}
			if err := introduce(env.Stdout, site); err != nil {
				return err
			}
			<-c.Context().Done()
			return nil
		},
	}
	c.Flags().StringVar(&o.Address, "address", "127.0.0.1:8446", "host:port of the pages, on this machine")
	c.Flags().BoolVar(&empty, "empty", false, "nobody has asked for anybody yet")
	return c
}

// whatFor says what each of the test users is for.
var whatFor = map[string]string{
	idp.GPOfA: "asks for patients of practice A, opens its worklists", idp.OtherGPOfA: "a colleague of theirs", idp.GPOfB: "asks for patients of practice B",
	idp.Approver: "approves", idp.OtherApprover: "approves, too", idp.Guardian: "reviews emergencies, reads who asked, the log, reports and limits", idp.Analyst: "sends worklists",
	idp.Emergency: "may break the glass (choose AAL3 when it signs in again)", idp.FirstOfTwo: "asks", idp.SecondOfTwo: "is the same person, who cannot approve what they asked",
	idp.FirstOperator: "adds projects and clients", idp.SecondOperator: "approves that", idp.WithoutRole: "has no role and cannot sign in",
}

// introduce says where to go, as whom, and what with.
func introduce(w io.Writer, c *clinic.Clinic) error {
	_, err := fmt.Fprintf(w, `
Open   %s/
       Your browser does not know its certificate: accept it for this try, or import
       %s

Press "Sign in", and choose one of these made-up people:

`, c.Console, c.Authority)
	for _, u := range idp.Users() {
		if err == nil && whatFor[u.ID] != "" {
			where := "nowhere"
			if len(u.Roles) > 0 {
				where = u.Roles[0].Name + ", " + u.Roles[0].Organisation
			}
			_, err = fmt.Fprintf(w, "  %-32s %-42s %s\n", u.Name, where, whatFor[u.ID])
		}
	}
	for _, of := range []struct{ practice, what string }{{idp.PracticeA, "a patient of practice A (Z00001)"}, {idp.PracticeB, "a patient of practice B (Z00002)"}, {"", "a patient of neither"}} {
		patients := c.Of(of.practice)
		if err == nil && len(patients) > 0 {
			_, err = fmt.Fprintf(w, "\n  %-34s %s", of.what, patients[len(patients)-1].Token)
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "\n\nAnybody reads the register: %s/register\nCtrl-C ends it.\n", c.Console)
	}
	return err
}
