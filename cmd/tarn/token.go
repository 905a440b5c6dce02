package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
)

// tokenDocument is a token's parts.
type tokenDocument struct {
	Schema     string `json:"schema"`
	Scheme     string `json:"scheme"`
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint16 `json:"token_epoch"`
	Value      string `json:"value"` // 32 bytes, hex
}

const tokenSchema = "tarn.token/1"

func tokenCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Take tokens apart, and put them together",
		Long: `A token's text form is 74 characters (Bech32m): scheme, domain number, token epoch and 32
bytes. Every mistyped character, and every two that were exchanged, are noticed.`,
	}
	c.AddCommand(tokenParse(env), tokenFormat(env))
	return c
}

func tokenParse(env *boot.Environment) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "parse TOKEN|-", Short: "Say what a token is of, or what is wrong with it",
		Long: `Say of which scheme, domain and epoch a token is, and give its 32 bytes. With - tokens
come from standard input, one a line. Of a text that is no token it says what is wrong
and where, and never which token it might be: the nearest may be another patient's.`,
		Example: "  tarn token parse tarn1qgqqqqq8qqqsqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8cfc8qfa", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "tarn token parse", "one token is needed", "give its 74 characters, or - to read tokens from standard input")
			}
			if args[0] != "-" {
				return showToken(env, args[0], asJSON, "reading the token")
			}
			lines := bufio.NewScanner(env.Stdin)
			for n := 1; lines.Scan(); n++ {
				if err := showToken(env, lines.Text(), asJSON, fmt.Sprintf("reading the token of line %d", n)); err != nil {
					return err
				}
			}
			if err := lines.Err(); err != nil {
				return fault.Wrap(fault.Usage, "reading standard input", err, "give one token a line")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func showToken(env *boot.Environment, text string, asJSON bool, doing string) error {
	t, err := keys.ParseToken(text)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, keys.ExplainToken(text), "compare it with where it was copied from")
	}
	d := tokenDocument{Schema: tokenSchema, Scheme: keys.SchemeName(t.Scheme), DomainNo: t.DomainNo, TokenEpoch: t.TokenEpoch, Value: hex.EncodeToString(t.Value[:])}
	if asJSON {
		return env.PrintJSON(d)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s token of domain %d, epoch %d: %s\n", d.Scheme, d.DomainNo, d.TokenEpoch, d.Value)
	return err
}

func tokenFormat(env *boot.Environment) *cobra.Command {
	d := tokenDocument{}
	c := &cobra.Command{
		Use: "format HEX|-", Short: "Give the text form of a token's 32 bytes",
		Example: "  tarn token format --scheme oblivious --domain-no 7 --epoch 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			const doing = "tarn token format"
			number := slices.IndexFunc([]uint8{1, 2, 3, 4}, func(n uint8) bool { return keys.SchemeName(n) == d.Scheme })
			switch {
			case len(args) != 1:
				return fault.New(fault.Usage, doing, "32 bytes in hexadecimal digits are needed", "give them, or - to read them from standard input")
			case number < 0:
				return fault.New(fault.Usage, doing, "--scheme is none", "give keyed-hash, oblivious, rfc9497 or release")
			case d.DomainNo == 0 || d.TokenEpoch == 0:
				return fault.New(fault.Usage, doing, "--domain-no or --epoch is missing", "both count from 1; a cohort's manifest has them")
			}
			text := args[0]
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(env.Stdin, 1<<10))
				if err != nil {
					return fault.Wrap(fault.Usage, "reading standard input", err, "")
				}
				text = strings.TrimSpace(string(b))
			}
			b, err := hex.DecodeString(text)
			if err != nil || len(b) != keys.TokenSize {
				return fault.New(fault.Usage, doing, "that is not 64 hexadecimal digits", "give the 32 bytes of one token")
			}
			t := keys.Token{Scheme: uint8(number + 1), DomainNo: d.DomainNo, TokenEpoch: d.TokenEpoch, Value: [keys.TokenSize]byte(b)}
			_, err = fmt.Fprintln(env.Stdout, t)
			return err
		},
	}
	c.Flags().StringVar(&d.Scheme, "scheme", keys.SchemeOblivious, "keyed-hash, oblivious, rfc9497 or release")
	c.Flags().Uint32Var(&d.DomainNo, "domain-no", 0, "the domain's number")
	c.Flags().Uint16Var(&d.TokenEpoch, "epoch", 0, "the token epoch")
	return c
}
