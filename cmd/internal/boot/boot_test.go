package boot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

// planted stands for a data value that must not reach an output.
const planted = "9434765919"

// program returns a command tree whose leaf "work" does what the test gives.
func program(work func(*boot.Environment, *cobra.Command) error) func(*boot.Environment) *cobra.Command {
	return func(env *boot.Environment) *cobra.Command {
		root := &cobra.Command{Use: "prog"}
		leaf := &cobra.Command{Use: "work", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return work(env, c) }}
		leaf.Flags().Int("threads", 1, "")
		leaf.Flags().String("in", "", "")
		group := &cobra.Command{Use: "group"}
		group.AddCommand(&cobra.Command{Use: "inner", RunE: leaf.RunE})
		required := &cobra.Command{Use: "required", RunE: leaf.RunE}
		required.Flags().String("out", "", "")
		if err := required.MarkFlagRequired("out"); err != nil {
			panic(err)
		}
		resumable := &cobra.Command{Use: "resumable", RunE: leaf.RunE}
		resumable.Flags().Bool("resume", false, "")
		resumable.Flags().Bool("plan", false, "")
		root.AddCommand(leaf, group, required, resumable)
		return root
	}
}

type result struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, work func(*boot.Environment, *cobra.Command) error, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := boot.Run(t.Context(), program(work), args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func succeed(*boot.Environment, *cobra.Command) error { return nil }

func TestExitCodes(t *testing.T) {
	opaque := errors.New("cannot parse " + planted)
	_, missing := os.Open(filepath.Join(t.TempDir(), "absent"))
	tests := []struct {
		name string
		err  error
		code int
		text string // part of standard error
	}{
		{"success", nil, 0, ""},
		{"internal", fault.New(fault.Internal, "writing", "no space", ""), 1, "error: writing: no space\n"},
		{"usage", fault.New(fault.Usage, "reading a.csv", "it has no header", "give --no-header"), 2, "error: reading a.csv: it has no header; give --no-header\n"},
		{"rows refused", fault.New(fault.RowsRefused, "encoding", "too many", ""), 3, "too many"},
		{"policy", fault.New(fault.Policy, "a", "b", ""), 4, "a: b"},
		{"unavailable", fault.New(fault.Unavailable, "a", "b", ""), 5, "a: b"},
		{"disagreement", fault.New(fault.Disagreement, "a", "b", ""), 6, "a: b"},
		{"wrapped fault", fmt.Errorf("outer: %w", fault.New(fault.Policy, "a", "b", "")), 4, "error: a: b\n"},
		{"joined faults", errors.Join(fault.New(fault.Disagreement, "a", "b", ""), fault.New(fault.Usage, "c", "d", "")), 6, "error: a: b\nerror: c: d\n"},
		{"operating system", missing, 1, "no such file or directory"},
		{"operating system, wrapped", fmt.Errorf("x: %w", missing), 1, "no such file or directory"},
		{"opaque", opaque, 1, "*errors.errorString"},
		{"opaque, wrapped", fmt.Errorf("row: %w", opaque), 1, "withheld"},
		{"cancelled without a signal", context.Canceled, 1, "context canceled"},
		{"end of file", io.ErrUnexpectedEOF, 1, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, func(*boot.Environment, *cobra.Command) error { return tt.err }, "work")
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			if !strings.Contains(got.stderr, tt.text) || (tt.text == "") != (got.stderr == "") {
				t.Errorf("standard error is %q, want it to hold %q", got.stderr, tt.text)
			}
			if strings.Contains(got.stderr, planted) {
				t.Errorf("standard error holds the planted value: %q", got.stderr)
			}
		})
	}
	// Control: the planted value does arrive where a type vouches for it.
	if got := run(t, func(*boot.Environment, *cobra.Command) error { return fault.New(fault.Usage, planted, "", "") }, "work"); !strings.Contains(got.stderr, planted) {
		t.Error("the search for the planted value is blind")
	}
}

func TestWrongUsageExitsTwoAndRepeatsNoArgument(t *testing.T) {
	tests := []struct {
		name, text string
		args       []string
	}{
		{"nothing", "a command is needed", []string{}},
		{"group alone", "prog group: a command is needed", []string{"group"}},
		{"unknown command", "there is no such command; see: prog --help", []string{planted}},
		{"misspelt command", "did you mean work?", []string{"wrk"}},
		{"unknown inner command", "prog group: there is no such command", []string{"group", planted}},
		{"unknown flag", "there is no such flag", []string{"work", "--" + planted}},
		{"misspelt flag", "did you mean --threads?", []string{"work", "--thread=3"}},
		{"wrong value", "the value of --threads is not a valid int", []string{"work", "--threads", planted + "x"}},
		{"no value", "--in needs a value", []string{"work", "--in"}},
		{"argument too many", "see: prog", []string{"work", planted}},
		{"required flag", `required flag(s) "out" not set`, []string{"required"}},
		{"log level", "--log-level: setting the log's level: it is none of debug, info, warn, error", []string{"work", "--log-level", planted}},
		{"log format", "--log-format", []string{"work", "--log-format", planted}},
		{"malformed flag", "not well formed", []string{"work", "--=" + planted}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, succeed, tt.args...)
			if got.code != 2 {
				t.Errorf("exit code %d, want 2", got.code)
			}
			if !strings.Contains(got.stderr, tt.text) {
				t.Errorf("standard error is %q, want it to hold %q", got.stderr, tt.text)
			}
			if strings.Contains(got.stderr+got.stdout, planted) {
				t.Errorf("an argument is repeated: %q", got.stderr)
			}
			if got.stdout != "" {
				t.Errorf("standard output holds %q", got.stdout)
			}
		})
	}
	if got := run(t, succeed, "work"); got.code != 0 {
		t.Errorf("control: right usage exits %d", got.code)
	}
}

func TestHelpVersionCompletion(t *testing.T) {
	for _, tt := range []struct {
		text string
		args []string
	}{
		{"Usage:", []string{"--help"}},
		{"--threads", []string{"work", "--help"}},
		{"--log-level", []string{"help", "work"}},
		{"prog " + boot.Version() + " (go", []string{"--version"}},
		{"bash completion", []string{"completion", "bash"}},
	} {
		got := run(t, succeed, tt.args...)
		if got.code != 0 || !strings.Contains(got.stdout, tt.text) || got.stderr != "" {
			t.Errorf("%v: exit %d, standard error %q, standard output lacks %q", tt.args, got.code, got.stderr, tt.text)
		}
	}
}

type carrier struct{ Number string }

func TestPanicsShowWhereAndNeverWhat(t *testing.T) {
	values := map[string]any{
		"text":      planted,
		"error":     errors.New(planted),
		"structure": carrier{planted},
		"fault":     fault.New(fault.Usage, planted, planted, planted),
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			got := run(t, func(*boot.Environment, *cobra.Command) error { panic(value) }, "work")
			if got.code != 1 {
				t.Errorf("exit code %d, want 1", got.code)
			}
			if strings.Contains(got.stderr, planted) {
				t.Errorf("the value is printed: %q", got.stderr)
			}
			for _, want := range []string{"internal failure", fmt.Sprintf("%T", value), "boot_test.go:", "TestPanicsShowWhereAndNeverWhat"} {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("the message lacks %q: %s", want, got.stderr)
				}
			}
		})
	}
}

func TestLogFlagsReachTheLogger(t *testing.T) {
	work := func(env *boot.Environment, _ *cobra.Command) error {
		env.Logger.Info("starting", "rows", 3)
		return nil
	}
	if got := run(t, work, "work"); got.stderr != "" {
		t.Errorf("an information line at the default level: %q", got.stderr)
	}
	if got := run(t, work, "work", "--log-level", "info"); !strings.Contains(got.stderr, "msg=starting rows=3") {
		t.Errorf("text line is %q", got.stderr)
	}
	if got := run(t, work, "--log-level=info", "--log-format=json", "work"); !strings.Contains(got.stderr, `"msg":"starting","rows":3}`) {
		t.Errorf("JSON line is %q", got.stderr)
	}
}

func TestProgressIsSilentWithoutATerminal(t *testing.T) {
	got := run(t, func(env *boot.Environment, _ *cobra.Command) error {
		p := env.Progress("encoding", "rows")
		p.Set(1, 2)
		p.Done()
		p.Set(2, 2)
		p.Done()
		return nil
	}, "work")
	if got.code != 0 || got.stderr != "" || got.stdout != "" {
		t.Errorf("exit %d, output %q, %q", got.code, got.stdout, got.stderr)
	}
}
