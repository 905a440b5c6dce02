package boot

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"tarn/keys"
	"tarn/keys/fault"
)

// maxSecretLine is the length of a line that is typed or read, in bytes.
const maxSecretLine = 1000

// SecretText returns the first line of a file (- is standard input), or what is
// typed on the terminal where no file is named. A terminal does not show it.
func (env *Environment) SecretText(path, prompt string) (string, error) {
	const doing = "reading a secret"
	if path != "" && path != "-" {
		content, err := keys.ReadSecret(path)
		if err != nil {
			return "", err
		}
		defer clear(content)
		line, _, _ := strings.Cut(string(content), "\n")
		return strings.TrimRight(line, "\r"), nil
	}
	if env.AsksForSecret(path) {
		fmt.Fprint(env.Stderr, prompt)
		line, err := term.ReadPassword(int(env.Stdin.(*os.File).Fd())) // AsksForSecret has seen that it is one
		fmt.Fprintln(env.Stderr)
		if err != nil {
			return "", fault.Wrap(fault.Usage, doing, err, "give it in a file")
		}
		defer clear(line)
		return string(line), nil
	}
	line, err := bufio.NewReader(io.LimitReader(env.Stdin, maxSecretLine)).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return "", fault.Wrap(fault.Usage, doing, err, "give it in a file, on standard input, or on a terminal")
	}
	return line, nil
}

// AsksForSecret reports whether SecretText of the path asks on a terminal.
func (env *Environment) AsksForSecret(path string) bool {
	file, ok := env.Stdin.(*os.File)
	return ok && path == "" && term.IsTerminal(int(file.Fd()))
}
