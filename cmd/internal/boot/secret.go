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
	if file, ok := env.Stdin.(*os.File); ok && path == "" && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(env.Stderr, prompt)
		line, err := term.ReadPassword(int(file.Fd()))
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
