package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/tokenise/dataprofile"
	"tarn/tokenise/demographics"
	"tarn/tokenise/source"
)

func profileCommand(env *boot.Environment) *cobra.Command {
	var table tableFlags
	var writeMap string
	asJSON := false
	c := &cobra.Command{
		Use:   "profile",
		Short: "Say how fit a table is for linkage; no value of it is shown",
		Long: `Read a table and say how complete and valid its fields are, what is duplicated, how
many rows could be linked by what, which column was taken for which field and why,
and what to correct first, and who can. No value is ever shown, no count of 1 to 9 rows,
and no other count from which such a one would follow.`,
		Example: "  tokeniser profile --in people.csv --write-map people.map.toml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			options, err := table.options(env.Stdin)
			if err != nil {
				return err
			}
			maps := func(start []byte) bool { return bytes.Contains(start, []byte(source.MapSchema)) }
			if err := outfile.Check("writing the column map", []outfile.Input{{Flag: "--in", Path: table.in}, {Flag: "--map", Path: table.mapPath}},
				[]outfile.Output{{Flag: "--write-map", Path: writeMap, Kind: "a column map", Earlier: maps}}); err != nil {
				return err
			}
			rows, err := source.OpenContext(c.Context(), table.in, options)
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }() // opened for reading
			mapping := source.FindMapping(rows.Header(), nil)
			mapping.Show(rows.Input().LeftOut)
			if table.mapPath != "" {
				if mapping, err = source.LoadMap(table.mapPath); err != nil {
					return err
				}
			}
			progress := env.Progress("reading", "B")
			document, err := dataprofile.Collect(c.Context(), rows, mapping, demographics.DateOf(env.Wall()), progress.Set)
			progress.Done()
			if err != nil {
				return err
			}
			document.Software, document.Created = boot.Software(), env.Clock().Format(time.RFC3339)
			if writeMap != "" {
				if err := writeMapFile(writeMap, mapping); err != nil {
					return err
				}
			}
			return printProfile(env, document, mapping, asJSON, writeMap)
		},
	}
	table.add(c.Flags())
	c.Flags().StringVar(&writeMap, "write-map", "", "write the column map here, to be read and confirmed")
	c.Flags().BoolVar(&asJSON, "json", false, "print the profile as JSON")
	return c
}

func writeMapFile(path string, m *source.Mapping) error {
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return fault.Wrap(fault.Internal, "writing the column map "+path, err, "")
	}
	if err := keys.WriteFile(path, b.Bytes()); err != nil {
		return fault.Wrap(fault.Internal, "writing the column map "+path, err, "choose a folder that can be written")
	}
	return nil
}

func printProfile(env *boot.Environment, d *dataprofile.Document, m *source.Mapping, asJSON bool, writeMap string) error {
	if asJSON {
		return writeJSON(env.Stdout, d)
	}
	if m.Columns != nil {
		fmt.Fprintln(env.Stdout, "columns:")
		if err := m.WriteText(env.Stdout); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout)
	}
	if err := dataprofile.WriteText(env.Stdout, d); err != nil {
		return err
	}
	if writeMap != "" {
		fmt.Fprintf(env.Stdout, "\ncolumn map: %s; read it, set confirmed = true, then: tokeniser run --map %s\n", writeMap, writeMap)
	}
	return nil
}
