package boot

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestEveryLineOfTheLogIsWritten holds the whole module to what NewLogger relies
// on: the message of a line is a constant, its attributes are key, value, key,
// value, and each key a constant of the list. No line goes past the logger that
// is handed in, by the default one or by the log package.
func TestEveryLineOfTheLogIsWritten(t *testing.T) {
	found, lines := readLines(t, nil)
	for _, wrong := range found {
		t.Error(wrong)
	}
	if lines < 10 {
		t.Errorf("only %d lines were found: the search is blind", lines)
	}
}

// TestPlantedLinesAreFound is the control.
func TestPlantedLinesAreFound(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	const planted = `package holder
import ("fmt"; "log"; "log/slog"; "context")
func planted(l *slog.Logger, number string, all []any) {
	l.Info("read " + number)
	l.Warn(fmt.Sprint(number))
	l.Error("m", "nhs_number", number)
	l.Info("m", number, 1)
	l.Info("m", all...)
	l.Info("m", slog.String("rows", number))
	l.With("name", number).Info("m")
	l.WithGroup(number)
	l.InfoContext(context.Background(), number)
	slog.Info("m")
	log.Print(number)
	const constant = "m"
	l.Info(constant, "rows", 1)
}
`
	found, _ := readLines(t, map[string][]byte{filepath.Join(root, "keys", "holder", "planted.go"): []byte(planted)})
	for line := 4; line <= 14; line++ {
		if !slices.ContainsFunc(found, func(wrong string) bool { return strings.HasPrefix(wrong, fmt.Sprintf("planted.go:%d:", line)) }) {
			t.Errorf("line %d was not found: %s", line, strings.Split(planted, "\n")[line-1])
		}
	}
	if len(found) != 11 {
		t.Errorf("found %d, want 11: %q", len(found), found)
	}
}

// readLines returns what is wrong with lines of the module's packages, and how many
// lines there are.
func readLines(t *testing.T, overlay map[string][]byte) (wrong []string, lines int) {
	t.Helper()
	const mode = packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports
	patterns := []string{"tarn/..."}
	if overlay != nil {
		patterns = []string{"tarn/keys/holder"}
	}
	all, err := packages.Load(&packages.Config{Mode: mode, Overlay: overlay}, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, failure := range p.Errors {
			t.Fatal(failure)
		}
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				line, reason := judge(p.TypesInfo, call)
				if line {
					lines++
				}
				if reason != "" && p.PkgPath != "tarn/cmd/internal/boot" {
					at := p.Fset.Position(call.Pos())
					wrong = append(wrong, fmt.Sprintf("%s:%d: %s", filepath.Base(at.Filename), at.Line, reason))
				}
				return true
			})
		}
	}
	return wrong, lines
}

// judge reports whether a call writes a line, and what is wrong with it.
func judge(info *types.Info, call *ast.CallExpr) (line bool, wrong string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false, ""
	}
	function, ok := info.Uses[selector.Sel].(*types.Func)
	if !ok || function.Pkg() == nil {
		return false, ""
	}
	method := function.Signature().Recv() != nil
	name := function.Name()
	switch path := function.Pkg().Path(); {
	case path == "log" && (strings.HasPrefix(name, "Print") || strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic") || name == "Output"):
		return true, "the log package writes whatever it is given"
	case path != "log/slog":
		return false, ""
	case !method && slices.Contains([]string{"Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "LogAttrs", "With"}, name):
		return true, "the default logger is nobody's"
	case !method:
		return false, ""
	}
	first := map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2}
	at, writes := first[name]
	switch {
	case name == "WithGroup" && !strings.HasSuffix(function.FullName(), "Handler).WithGroup"):
		return true, allowedConstant(info, call.Args[0])
	case name == "With":
		at = -1
	case !writes || !strings.HasPrefix(function.FullName(), "(*log/slog.Logger)"):
		return false, ""
	case info.Types[call.Args[at]].Value == nil:
		return true, "the message is no constant"
	}
	attributes := call.Args[at+1:]
	if call.Ellipsis.IsValid() {
		return true, "the attributes are not written here"
	}
	if len(attributes)%2 != 0 {
		return true, "the attributes are not key, value, key, value"
	}
	for i := 0; i < len(attributes); i += 2 {
		if wrong := allowedConstant(info, attributes[i]); wrong != "" {
			return true, wrong
		}
	}
	return true, ""
}

func allowedConstant(info *types.Info, key ast.Expr) string {
	value := info.Types[key].Value
	if value == nil || value.Kind() != constant.String {
		return "a key is no constant"
	}
	if _, ok := allowedKeys[constant.StringVal(value)]; !ok {
		return "the key " + constant.StringVal(value) + " is not on the list"
	}
	return ""
}
